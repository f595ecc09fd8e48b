"""How a worker begins: `python -m components.lib.training.begin JOB`, bound to the parent that started it.

Until that is done nothing heavy is imported: torch takes seconds, in which an orphan would not notice. No torch here.
"""

import os
import sys

from components.lib.ending import PARENT, die_with_parent
from components.lib.training.job import Job
from components.lib.uncollected import uncollected

# Read by torch when it first asks a GPU for memory; pieces of a fixed size would leave holes between passes of many
# lengths. The user's own value wins.
ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF"


def main(text: str) -> int:
    """Become the worker of the job of this text, or torchrun, whose workers die with it, for one of several."""
    die_with_parent()
    job = Job.read(text)
    processes = job.scale.processes
    if getattr(job.settings, "rollouts", "") != "vllm":  # whose own memory pool does not know them
        os.environ.setdefault(ALLOCATOR, "expandable_segments:True")
    if processes == 1:
        with uncollected():
            from components.lib.training import worker

        return worker.main(text)
    from torch.distributed import run

    os.environ[PARENT] = str(os.getpid())
    run.main(["--standalone", "--nproc-per-node", str(processes), "-m", "components.lib.training.worker", text])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
