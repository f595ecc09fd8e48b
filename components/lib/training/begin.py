"""How a worker begins: `python -m components.lib.training.begin JOB`, bound to the parent that started it.

Until that is done nothing heavy is imported: torch takes seconds, in which an orphan would not notice. No torch here.
"""

import ctypes
import os
import signal
import sys

from components.lib.training.job import Job

PARENT = "GRPO_PARENT"  # environment variable: the process that started this one
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Have the kernel tell this process to end (SIGTERM) when its parent is no more, however that went.

    A parent that was gone before the kernel could be asked is missed by its id: SIGTERM comes at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGTERM)


def main(text: str) -> int:
    """Become the worker of the job of this text, or torchrun, whose workers die with it, for one of several."""
    die_with_parent()
    processes = Job.read(text).scale.processes
    if processes == 1:
        from components.lib.training import worker

        return worker.main(text)
    from torch.distributed import run

    os.environ[PARENT] = str(os.getpid())
    run.main(["--standalone", "--nproc-per-node", str(processes), "-m", "components.lib.training.worker", text])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
