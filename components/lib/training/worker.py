"""The process that trains: `python -m components.lib.training.worker JOB`, started by lib/training/begin.py.

At its end it leaves a result.json, from which the parent knows what to do.
"""

import errno
import importlib
import os
import re
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from safetensors import SafetensorError

from components.lib import machine
from components.lib.ending import die_with_parent
from components.lib.files import PACKAGE, REMEDIES, write_json
from components.lib.generation.decode import NotFinite
from components.lib.place import explained_full
from components.lib.training.checkpoints import CURVES, TrainingDir
from components.lib.training.common import is_first
from components.lib.training.job import TASKS, Job, Result, Status
from components.lib.training.survive import Terminated
from components.lib.uncollected import uncollected

# The last two: another process of this training was lost.
_OF_THE_DEVICE = re.compile(r"CUDA|cuBLAS|cuDNN|Triton Error|NCCL|gloo", re.IGNORECASE)
# How torch says that a file could not be written, and the second time how far it had come.
_OF_WRITING = re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs")
ALMOST_FULL = 1 << 20  # bytes; less than torch writes at once


def main(text: str) -> int:
    """Do the job of this text; returns the exit status, 0 if it was done."""
    die_with_parent()
    job = Job.read(text)
    try:
        work(job)
        return 0
    except (Exception, KeyboardInterrupt) as error:
        result, of_the_disk = judge(error, job.directory), disk_error(error, job.directory)
        if result.status is not Status.TERMINATED and not of_the_disk and not _is_ours(error):
            traceback.print_exc()
        if of_the_disk:
            print(f"{job.stage}: {result.message}", file=sys.stderr, flush=True)
            TrainingDir(job.directory).drop_unfinished()  # which makes room for what is said
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
    name, function = TASKS[job.stage, job.task].split(":")
    with uncollected():
        module = importlib.import_module(name)
    numbers = getattr(module, function)(job)
    if job.task == "train" and is_first():
        shutil.copytree(directory.curves, directory.preparing / CURVES)
        write_json(directory.preparing / CURVES / machine.MACHINE, ran_on(job))
        directory.finish(numbers)


def ran_on(job: Job) -> dict[str, Any]:
    """The machine as `machine.describe` has it, with the GPUs of all nodes."""
    found = machine.describe(heavy=True)
    return found | {"gpus": found["gpus"] * job.scale.nodes}


def judge(error: BaseException, directory: Path) -> Result:
    """What an error comes to in a training that writes to `directory`, and what to say of it."""
    line = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, Terminated | KeyboardInterrupt):
        return Result(Status.TERMINATED, "it was told to end")
    if isinstance(error, NotFinite):
        return Result(Status.NOT_FINITE, str(error))
    if isinstance(error, ValueError):
        return Result(Status.INVALID, str(error))
    if of_the_disk := disk_error(error, directory):
        return Result(Status.INVALID, explained_full(of_the_disk, directory.parent))
    if machine.out_of_memory(error):
        return Result(Status.OUT_OF_MEMORY, f"{line}; set gradient_checkpointing or lora_rank, or take shorter texts")
    text = str(error) if isinstance(error, RuntimeError) else ""
    lost = isinstance(error, torch.AcceleratorError | torch.distributed.DistError) or _OF_THE_DEVICE.search(text)
    return Result(Status.LOST if lost else Status.FAILED, line)


def disk_error(error: BaseException, directory: Path) -> OSError | None:
    """The error of a file, or of a volume, that an error is or tells of; of a full `directory` it names that.

    The writers of torch and safetensors have errors of their own, and torch's does not say why it could not write.
    """
    full = shutil.disk_usage(directory).free < ALMOST_FULL
    if isinstance(error, OSError):
        if full and error.errno == errno.ENOSPC:
            error.filename = error.filename or str(directory)
        return error if error.errno in REMEDIES or (error.errno and error.filename) else None
    number = 0
    if isinstance(error, SafetensorError) and (found := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(found[1])
    if isinstance(error, RuntimeError) and _OF_WRITING.search(str(error)):
        number = errno.ENOSPC if full else errno.EIO
    return OSError(number, os.strerror(number), str(directory)) if number else None


def _is_ours(error: BaseException) -> bool:
    """Whether this project raised the error itself, so that its text says all."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and Path(frames[-1].filename).is_relative_to(PACKAGE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
