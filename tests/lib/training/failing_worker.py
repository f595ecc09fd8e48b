"""A worker that fails once, or as long as a condition holds: `python -m tests.lib.training.failing_worker HOW JOB`.

The error is raised where the real one would come from, inside a forward pass; everything else is the real worker.
"""

import sys
from pathlib import Path

import torch

from components.lib.training import worker
from components.lib.training.job import Job
from components.lib.training.survive import Guarded

HOW, TEXT = sys.argv[1:]
MARK = Path(Job.read(TEXT).directory) / "failed-once"
FITS = 4  # rows per forward pass


def memory(trainer):
    """The GPU has no more memory, as long as more than FITS rows go through at once."""
    if trainer.args.per_device_train_batch_size > FITS and trainer.state.global_step == 2:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def device(trainer):
    """The device is lost once, at step 3."""
    if trainer.state.global_step == 3 and not MARK.exists():
        MARK.touch()
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def bug(trainer):
    """A mistake in the code."""
    raise KeyError("advantages")


step = Guarded.training_step


def failing_step(self, *arguments, **named):
    """The real step, after the fault."""
    {"memory": memory, "device": device, "bug": bug}[HOW](self)
    return step(self, *arguments, **named)


Guarded.training_step = failing_step
sys.exit(worker.main(TEXT))
