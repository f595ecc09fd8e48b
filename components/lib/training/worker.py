"""The process that trains: `python -m components.lib.training.worker JOB`, started by lib/training/supervise.py.

At its end it leaves a result.json, from which the parent knows what to do.
"""

import importlib
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
from components.lib.training.checkpoints import CURVES, TrainingDir
from components.lib.training.common import is_first
from components.lib.training.job import TASKS, Job, Result, Status
from components.lib.training.supervise import die_with_parent
from components.lib.training.survive import Terminated

# The last two: another process of this training was lost.
_OF_THE_DEVICE = re.compile(r"CUDA|cuBLAS|cuDNN|Triton Error|NCCL|gloo", re.IGNORECASE)


def main(text: str) -> int:
    """Do the job of this text; returns the exit status, 0 if it was done."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent passes on what is meant
    job = Job.read(text)
    try:
        work(job)
        return 0
    except (Exception, KeyboardInterrupt) as error:
        result = judge(error)
        if result.status is not Status.TERMINATED and not _is_ours(error):
            traceback.print_exc()
        result.write(job.directory)
        return 1
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def work(job: Job) -> None:
    """Do the job's task; what a training has learned is left in the `finished` of its directory."""
    directory = TrainingDir(job.directory)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if is_first():
        shutil.rmtree(directory.preparing, ignore_errors=True)
    module, function = TASKS[job.stage, job.task].split(":")
    numbers = getattr(importlib.import_module(module), function)(job)
    if job.task == "train" and is_first():
        shutil.copytree(directory.curves, directory.preparing / CURVES)
        write_json(directory.preparing / CURVES / machine.MACHINE, ran_on(job))
        directory.finish(numbers)


def ran_on(job: Job) -> dict[str, Any]:
    """The machine as `machine.describe` has it, with the GPUs of all nodes."""
    found = machine.describe(heavy=True)
    return found | {"gpus": found["gpus"] * job.scale.nodes}


def judge(error: BaseException) -> Result:
    """What an error comes to, and what to say of it."""
    line = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, Terminated | KeyboardInterrupt):
        return Result(Status.TERMINATED, "it was told to end")
    if isinstance(error, NotFinite):
        return Result(Status.NOT_FINITE, str(error))
    if isinstance(error, ValueError):
        return Result(Status.INVALID, str(error))
    if machine.out_of_memory(error):
        return Result(Status.OUT_OF_MEMORY, f"{line}; set gradient_checkpointing or lora_rank, or take shorter texts")
    text = str(error) if isinstance(error, RuntimeError) else ""
    lost = isinstance(error, torch.AcceleratorError | torch.distributed.DistError) or _OF_THE_DEVICE.search(text)
    return Result(Status.LOST if lost else Status.FAILED, line)


def _is_ours(error: BaseException) -> bool:
    """Whether this project raised the error itself, so that its text says all."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and Path(frames[-1].filename).is_relative_to(PACKAGE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
