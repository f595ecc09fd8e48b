"""A worker that does not outlive the process that started it; no torch here."""

import ctypes
import os
import signal
import sys

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
