"""The small parent process of a training: it holds the lock, starts a worker, and starts it again after a crash.

A worker (lib/training/worker.py) is a process of its own, because a CUDA error or the end of memory leaves a process
in which nothing more can be trusted. It says in result.json how it ended; its exit status counts where it could not.
One that hangs is ended and counts as crashed. What a user must fix and what would only happen again is not retried. No
torch here.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.lib import ending, machine
from components.lib.files import link_tree, naming, new_file, read_json, write_json
from components.lib.place import explained_full
from components.lib.recipe.schema import Scale, Training
from components.lib.training.checkpoints import CURVES, CURVES_ARE, TrainingDir
from components.lib.training.job import RESULT, SCREENED, Job, Result, Status, screened
from components.lib.training.pace import Pace

FIT = "fit.json"
THREADS = "threads.json"
LOOK_S = 5.0  # between two looks at a worker's pace
GRACE_S = 120.0  # for a worker that hangs to save; torchrun takes 30 s of it to end its own


def train(
    *, stage: str, model: str, revision: str, data: Path, model_out: Path, curves_out: Path, checkpoints: Path | None,
    seed: int, settings: Any, training: Training, scale: Scale,
    gate_candidate: str = "last", work: Callable[[Job, int], Result] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train in a worker process until the result is there, and put it to `model_out` and `curves_out`.

    `model` is a directory, `tiny` or a Hub id at `revision`, `data` holds the files of standardize. Checkpoints lie
    in `checkpoints`, without one beside the curves; whoever calls again with the same inputs, settings and code goes
    on from there. `gate_candidate` is the recipe's, for GRPO alone. `work` makes an attempt, a local worker by default.
    Returns the numbers to log. `ValueError` for what the user can fix, `RuntimeError` if the training cannot be brought
    to its end, `SystemExit` after SIGTERM.
    """
    root = checkpoints or curves_out.with_name(f"{curves_out.name}.checkpoints")
    job = Job(
        stage=stage, model=model, revision=revision, data=data, directory=root, seed=seed, settings=settings,
        training=training, scale=scale, candidate=gate_candidate,
    )  # fmt: skip
    directory = TrainingDir.of(root, stage, job.inputs())
    job = replace(job, directory=directory.path)
    took: dict[str, float] = {}
    with directory.locked() as lock:
        print(f"{stage}{CURVES_ARE}{directory.curves}", flush=True)
        if result := directory.result():
            print(f"{stage}: this very training has ended before; its result is taken from {directory.finished}")
        else:
            attempt = lambda job: (work or run_worker)(job, lock)  # noqa: E731
            took = _screen(job, directory, attempt)
            result = _until_done(job, directory, attempt)
        link_tree(directory.finished / "model", model_out)
        link_tree(directory.finished / CURVES, curves_out)
        return {**result.numbers, **took}


def _screen(job: Job, directory: TrainingDir, attempt: Callable[[Job], Result]) -> dict[str, float]:
    """Screen GRPO's problems, unless that was done or is not asked for; the seconds that it took."""
    if job.stage != "grpo" or not job.settings.screen_samples or screened(directory.path):
        return {}
    began = time.monotonic()
    _until_done(replace(job, task="screen"), directory, attempt)
    return {SCREENED: round(time.monotonic() - began, 1)}


def _until_done(job: Job, directory: TrainingDir, attempt: Callable[[Job], Result]) -> Result:
    """Make attempts until one has done the job; raises as `train` says."""
    restarts, furthest = 0, directory.reached()  # restarts in a row: those before the last progress do not count
    while (result := attempt(_prepared(job, directory))).status is not Status.DONE:
        status, message = result.status, result.message
        if status is Status.TERMINATED:
            raise ending.Ended(signal.SIGTERM)
        if status is Status.INVALID:
            raise ValueError(message)
        if _halve(job, directory, status):
            continue
        if (reached := directory.reached()) > furthest:
            restarts, furthest = 0, reached
        if status not in (Status.LOST, Status.KILLED) or restarts == job.training.restarts:
            raise RuntimeError(f"{job.stage} gave up: {message}")
        restarts += 1
        print(
            f"{job.stage}: {message}; it is started again from its newest checkpoint "
            f"(restart {restarts} of {job.training.restarts})", flush=True,
        )  # fmt: skip
    return result


def run_worker(job: Job, lock: int) -> Result:
    """One worker process, its output passed on; what it came to.

    What tells this process to end reaches the worker as SIGTERM: it saves and ends. A terminal's own signals do not
    reach it, which is in a session of its own.
    """
    command = [sys.executable, "-m", "components.lib.training.begin", job.text()]
    own = {"PYTHONUNBUFFERED": "1", ending.PARENT: str(os.getpid())}
    environment = {**os.environ, **own, **threads_of(job.directory)}
    # Somebody who replaced sys.stdout wants to see what the worker prints; else it may have the terminal itself.
    piped = sys.stdout is not sys.__stdout__
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if piped else {}
    with subprocess.Popen(
        command, env=environment, pass_fds=(lock,), start_new_session=True, text=True, errors="replace", **streams
    ) as worker:
        told: list[int] = []

        def pass_on(number: int) -> None:
            told.append(number)
            worker.terminate()

        with ending.handling(pass_on), _watching(worker, Pace(job.directory)) as hanging:
            for line in worker.stdout or ():
                print(line, end="", flush=True)
            result = result_of(job, worker.wait())
    if hanging and result.status is not Status.DONE:
        result = Result(Status.LOST, hanging[0])
    return Result(Status.TERMINATED) if told and result.status in (Status.LOST, Status.KILLED) else result


def threads_of(directory: Path) -> dict[str, str]:
    """OMP_NUM_THREADS as the training in this directory began with: with another number it would end in other weights.

    Empty where `pipeline.py run` did not choose it: the user's value wins, and a cluster's.
    """
    if not (chosen := os.environ.get(machine.CHOSEN_VARIABLE)):
        return {}
    if not (directory / THREADS).exists():
        write_json(directory / THREADS, int(chosen))
    return {"OMP_NUM_THREADS": str(read_json(directory / THREADS))}


@contextmanager
def _watching(worker: subprocess.Popen[str], pace: Pace) -> Iterator[list[str]]:
    """End a worker that hangs, SIGTERM first and SIGKILL later; yields why, in a list that is empty before."""
    hanging: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not hanging and not ended.wait(LOOK_S):
            hanging.extend(filter(None, [pace.stalled()]))
        if hanging:
            worker.terminate()
            if not ended.wait(GRACE_S):
                worker.kill()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield hanging
    finally:
        ended.set()
        watcher.join()


def result_of(job: Job, status: int) -> Result:
    """What a worker says, or else what its exit status does, which is negative for a signal."""
    if found := Result.read(job.directory):
        return found
    if status == 0:  # of a screening, whose files say all
        return Result(Status.DONE)
    if status == -signal.SIGTERM:
        return Result(Status.TERMINATED)
    try:
        with naming(job.directory), new_file(job.directory) as probe:  # a worker that cannot write cannot say so
            probe.write_bytes(b"x" * 4096)
    except OSError as error:
        raise ValueError(explained_full(error, job.directory.parent)) from None
    # Of several processes one died without a word, of which torchrun makes a plain failure: it was killed.
    if status == -signal.SIGKILL or (status > 0 and job.scale.world > 1):
        name = "its process" if status < 0 else "one of its processes"
        text = f"{name} was killed, as the kernel does when the machine's memory runs out"
        return Result(Status.LOST if machine.gpus()["gpus"] else Status.KILLED, text)
    if status < 0:
        return Result(Status.LOST, f"its process was killed by {signal.Signals(-status).name}")
    return Result(Status.FAILED, f"its process ended with status {status}; the lines above say why")


def _prepared(job: Job, directory: TrainingDir) -> Job:
    """The job with the sizes that fit and the checkpoint to go on from, the curves cut back to it."""
    (directory.path / RESULT).unlink(missing_ok=True)  # an earlier attempt's, or an orphan's
    step, path = directory.newest() or (-1, None)  # all anew, what was measured at step 0 too
    directory.rewind(step)
    if path:
        print(f"{job.stage}: going on from step {step}, {path}", flush=True)
    return replace(_fitted(job, directory), resume=str(path or ""))


def _fitted(job: Job, directory: TrainingDir) -> Job:
    path = directory.path / FIT
    return job.fitted(read_json(path)) if path.exists() else job


def _halve(job: Job, directory: TrainingDir, status: Status) -> bool:
    """Note down about half of what went together when memory ran out; False if it did not, or can be no less.

    A forward pass takes a divisor of a step's rows. What is decoded together gets smaller by itself (lib/generation/
    decode.py), unless the process was killed, which nobody inside it sees.
    """
    settings, rows = _fitted(job, directory).settings, job.settings.rows_per_step // job.scale.world
    sizes: dict[str, tuple[int, int]] = {}  # setting -> value, smaller value
    if status in (Status.OUT_OF_MEMORY, Status.KILLED) and job.task == "train":
        size = min(settings.micro_batch_size, rows)
        sizes["micro_batch_size"] = size, max((n for n in range(1, size // 2 + 1) if rows % n == 0), default=0)
    if status is Status.KILLED and job.stage == "grpo":
        sizes["rollout_batch_size"] = settings.rollout_batch_size, settings.rollout_batch_size // 2
    smaller = {name: new for name, (_, new) in sizes.items() if new}
    if smaller:
        path = directory.path / FIT
        write_json(path, (read_json(path) if path.exists() else {}) | smaller)
        changes = " and ".join(f"{name}={new} instead of {sizes[name][0]}" for name, new in smaller.items())
        why = "out of memory" if status is Status.OUT_OF_MEMORY else "killed, most likely because memory ran out"
        print(f"{job.stage}: {why}; it goes on from its newest checkpoint with {changes}", flush=True)
    return bool(smaller)
