"""The small parent process of a training: it holds the lock, starts a worker, and starts it again after a crash.

A worker (lib/training/worker.py) is a process of its own, because a CUDA error or the end of memory leaves a process
in which nothing more can be trusted. What a user must mend and what would only happen again is not retried.
No torch here.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.lib.files import link_tree, read_json, write_json
from components.lib.recipe.schema import Scale, Training
from components.lib.training.checkpoints import Place, place_of
from components.lib.training.job import Job, screened

# Exit statuses of a worker.
DONE, MENDABLE, NOT_FINITE, DEVICE, MEMORY, TERMINATED = 0, 2, 3, 70, 75, 143
SAID = "said.json"  # in the place: {"status", "said"} of the first worker that gave up
FIT = "fit.json"  # in the place: the micro-batch that fits the memory
RESULT = "numbers.json"
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def train(
    *, stage: str, model: str, revision: str, data: Path, model_out: Path, curves_out: Path, checkpoints: Path | None,
    seed: int, settings: Any, training: Training, scale: Scale,
    work: Callable[[Job, int], int] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train in a worker process until the result is there, and put it to `model_out` and `curves_out`.

    `model` is a directory, `tiny` or a Hub id at `revision`, `data` holds the files of standardize. Checkpoints lie
    in `checkpoints`, without one beside the curves; whoever calls again with the same inputs, settings and code goes
    on from there. `work` makes an attempt, a local worker by default. Returns the numbers to log. `ValueError` for
    what the user can mend, `RuntimeError` if the training cannot be brought to its end, `SystemExit` after SIGTERM.
    """
    root = checkpoints or curves_out.with_name(f"{curves_out.name}.checkpoints")
    job = Job(
        stage=stage, model=model, revision=revision, data=data, place=root, seed=seed, settings=settings,
        training=training, scale=scale,
    )  # fmt: skip
    place = place_of(root, stage, job.inputs())
    job = replace(job, place=place.path)
    with place.locked() as lock:
        if (place.finished / RESULT).exists():
            print(f"{stage}: this very training has ended before; its result is taken from {place.finished}")
        else:
            if stage == "grpo" and settings.screen_samples and not screened(place.path):
                _until_done(replace(job, task="screen"), place, lambda job: (work or run_worker)(job, lock))
            _until_done(job, place, lambda job: (work or run_worker)(job, lock))
        link_tree(place.finished / "model", model_out)
        link_tree(place.finished / "curves", curves_out)
        return read_json(place.finished / RESULT)


def _until_done(job: Job, place: Place, work: Callable[[Job], int]) -> None:
    """Run workers until one has finished; raises as `train` says."""
    restarts = 0
    while (ended := work(_prepared(job, place))) != DONE:
        status, said = _said(job, place, ended)
        if status in (TERMINATED, -signal.SIGTERM):
            raise SystemExit(TERMINATED)
        if status == MENDABLE:
            raise ValueError(said)
        if status == MEMORY and job.task == "train" and _halve(job, place):
            continue
        if status in (NOT_FINITE, MEMORY) or (status > 0 and status != DEVICE) or restarts == job.training.restarts:
            raise RuntimeError(f"{job.stage} gave up: {said or how_it_ended(status)}")
        restarts += 1
        print(
            f"{job.stage}: {said or how_it_ended(status)}; it is started again from its newest checkpoint "
            f"(restart {restarts} of {job.training.restarts})", flush=True,
        )  # fmt: skip


def run_worker(job: Job, lock: int) -> int:
    """One worker process, its output passed on; its exit status, negative for a signal.

    SIGTERM and SIGINT of this process reach the worker as SIGTERM: it saves and ends.
    """
    command = [sys.executable, "-m", "components.lib.training.worker", job.text()]
    if job.scale.processes > 1:
        runner = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(job.scale.processes)]
        command = [sys.executable, *runner, *command[1:]]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # Somebody who replaced sys.stdout wants to see what the worker prints; else it may have the terminal itself.
    piped = sys.stdout is not sys.__stdout__
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if piped else {}
    with subprocess.Popen(
        command, env=environment, pass_fds=(lock,), preexec_fn=die_with_parent, text=True, errors="replace", **streams
    ) as worker:
        with _passing_on(worker):
            for line in worker.stdout or ():
                print(line, end="", flush=True)
            return worker.wait()


def die_with_parent() -> None:
    """Have the kernel tell this process to end (SIGTERM) when its parent is no more, however that went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _passing_on(worker: subprocess.Popen[str]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: worker.terminate())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"its process ended with status {status}; the lines above say why"
    name = signal.Signals(-status).name
    return f"its process was killed by {name}" + (" (the host's memory ran out?)" if name == "SIGKILL" else "")


def _prepared(job: Job, place: Place) -> Job:
    """The job with the micro-batch that fits and the checkpoint to go on from, the curves cut back to it."""
    (place.path / SAID).unlink(missing_ok=True)  # an orphan's, that saved when its parent was gone
    step, path = place.newest() or (0, None)
    place.rewind(step)
    if path:
        print(f"{job.stage}: going on from step {step}, {path}", flush=True)
    return replace(_fitted(job, place), resume=str(path or ""))


def _fitted(job: Job, place: Place) -> Job:
    path = place.path / FIT
    return job.with_micro_batch(read_json(path)["micro_batch_size"]) if path.exists() else job


def _halve(job: Job, place: Place) -> bool:
    """Note down the next smaller micro-batch, about half, that divides a step; False if there is none."""
    size = _fitted(job, place).settings.micro_batch_size
    smaller = next((n for n in range(size // 2, 0, -1) if size % n == 0), 0)
    if smaller:
        write_json(place.path / FIT, {"micro_batch_size": smaller})
        print(
            f"{job.stage}: out of memory with {size} rows per forward pass; it goes on from its newest checkpoint with "
            f"{smaller}, and as many rows per step as before", flush=True,
        )  # fmt: skip
    return bool(smaller)


def _said(job: Job, place: Place, ended: int) -> tuple[int, str]:
    """Status and reason of the worker that gave up first; of several, torchrun tells only that one did.

    One that died without a word was killed, of which torchrun makes a plain failure.
    """
    path = place.path / SAID
    if not path.exists():
        return (DEVICE if job.scale.world > 1 and ended > 0 else ended), ""
    found = read_json(path)
    path.unlink()
    return found["status"], found["said"]
