"""The process that trains: `python -m components.lib.training.worker JOB`, started by lib/training/supervise.py.

Its exit status tells the parent what to do; see `supervise`. What it says to the user lies in the place's said.json.
"""

import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from components.lib import machine
from components.lib.files import PACKAGE, write_json
from components.lib.generation.decode import NotFinite
from components.lib.training.checkpoints import Place
from components.lib.training.common import is_first
from components.lib.training.job import Job
from components.lib.training.supervise import (
    DEVICE,
    DONE,
    MEMORY,
    MENDABLE,
    NOT_FINITE,
    RESULT,
    SAID,
    TERMINATED,
    die_with_parent,
)
from components.lib.training.survive import Terminated

# The last two: another process of this training was lost.
_OF_THE_DEVICE = re.compile(r"CUDA|cuBLAS|cuDNN|Triton Error|NCCL|gloo", re.IGNORECASE)
# How CUDA, its libraries and Triton say what torch says with an error of its own.
_OF_MEMORY = re.compile(r"out of memory|ALLOC_FAILED", re.IGNORECASE)


def main(text: str) -> int:
    """Do the job of this text; returns the exit status."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent passes on what is meant
    job = Job.read(text)
    try:
        work(job)
        return DONE
    except (Exception, KeyboardInterrupt) as error:
        status, said = judge(error)
        if status != TERMINATED and not _is_ours(error):
            traceback.print_exc()
        _say(job, status, said)
        return status
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def work(job: Job) -> None:
    """Do the job's task; what a training has learned is left in the `finished` of its place."""
    place = Place(job.place)
    preparing = place.path / "preparing"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if is_first():
        shutil.rmtree(preparing, ignore_errors=True)
    numbers = importlib.import_module(f"components.{job.stage}.{job.task}").train(job, preparing / "model")
    if numbers is not None and is_first():
        shutil.copytree(place.curves, preparing / "curves")
        write_json(preparing / "curves" / machine.MACHINE, ran_on(job))
        write_json(preparing / RESULT, numbers)
        place.finish(preparing)


def ran_on(job: Job) -> dict[str, Any]:
    """The machine as `machine.describe` has it, with the GPUs of all nodes."""
    found = machine.describe(heavy=True)
    return found | {"gpus": found["gpus"] * job.scale.nodes}


def judge(error: BaseException) -> tuple[int, str]:
    """The exit status for an error, and what to say of it."""
    line = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, Terminated | KeyboardInterrupt):
        return TERMINATED, "it was told to end"
    if isinstance(error, NotFinite):
        return NOT_FINITE, str(error)
    if isinstance(error, ValueError):
        return MENDABLE, str(error)
    if isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and _OF_MEMORY.search(str(error))):
        return MEMORY, (
            f"{line}; lower micro_batch_size, max_new_tokens or rollout_batch_size, or set gradient_checkpointing"
        )
    if isinstance(error, torch.AcceleratorError | torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and _OF_THE_DEVICE.search(str(error))
    ):
        return DEVICE, line
    return 1, line


def _is_ours(error: BaseException) -> bool:
    """Whether this project raised the error itself, so that its text says all."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and Path(frames[-1].filename).is_relative_to(PACKAGE)


def _say(job: Job, status: int, said: str) -> None:
    """Leave status and reason for the parent, unless another process of this training was first."""
    with contextlib.suppress(FileExistsError), (job.place / SAID).open("x", encoding="utf-8") as file:
        json.dump({"status": status, "said": said}, file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
