"""What the parent of a training does after each way in which a worker can end, with real processes for workers."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.lib import machine
from components.lib.ending import PARENT
from components.lib.files import read_json, write_jsonl
from components.lib.recipe.recipes import TINY
from components.lib.recipe.settings import replace
from components.lib.training import pace, supervise
from components.lib.training.checkpoints import TrainingDir
from components.lib.training.job import Job, Result, Status
from tests import ROOT


@pytest.fixture
def directory(tmp_path):
    return TrainingDir.of(tmp_path, "grpo", {"seed": 0})


@pytest.fixture
def job(directory):
    settings = replace(TINY.grpo, micro_batch_size=12, prompts_per_step=6, generations=4)
    return Job(stage="grpo", model="tiny", revision="main", data=Path("data"), directory=directory.path, seed=0,
               settings=settings, training=replace(TINY.training, restarts=2), scale=TINY.scale)  # fmt: skip


def ending(directory, job, *ways, steps=()):
    """Run the parent's loop over workers that end in these ways; returns the micro-batches they were started with.

    A way is an exit status, a signal's negative number, or (status, message) as the worker says it. `steps` are those
    that the workers reach, one after the other.
    """
    seen, left, reached = [], list(ways), list(steps)

    def work(job):
        seen.append(job.settings.micro_batch_size)
        status = left.pop(0)
        if reached:
            write_jsonl(directory.curves / "curves.jsonl", [{"step": reached.pop(0)}])
        if not isinstance(status, int):
            Result(*status).write(directory.path)
            status = 1
        end = f"import os, sys; os.kill(os.getpid(), {-status})" if status < 0 else f"raise SystemExit({status})"
        return supervise.result_of(job, subprocess.run([sys.executable, "-c", end], check=False).returncode)

    supervise._until_done(job, directory, work)
    return seen


def test_a_job_travels_as_text(job):
    assert Job.read(job.text()) == job
    assert Job.read(dataclasses.replace(job, resume="/x/step-00000005").text()).resume == "/x/step-00000005"


def test_a_worker_that_is_killed_or_loses_its_device_starts_again(directory, job, capsys):
    assert ending(directory, job, -signal.SIGSEGV, (Status.LOST, "CUDA error: lost"), 0) == [12] * 3
    printed = capsys.readouterr().out
    assert "killed by SIGSEGV; it is started again" in printed
    assert "CUDA error: lost" in printed and "restart 2 of 2" in printed


def test_restarts_end(directory, job):
    with pytest.raises(RuntimeError, match="grpo gave up: its process was killed by SIGSEGV"):
        ending(directory, job, *[-signal.SIGSEGV] * 3)


@pytest.mark.fault("a training crashes again and again, with new steps between")
def test_restarts_count_anew_after_progress(directory, job, capsys, seen):
    assert len(ending(directory, job, *[-signal.SIGSEGV] * 6, 0, steps=[5, 5, 9, 9, 10, 11])) == 7
    printed = capsys.readouterr().out
    counts = re.findall(r"restart (\d) of 2", printed)
    assert counts == ["1", "2", "1", "2", "1", "1"], counts
    seen(printed.strip().splitlines()[-1])


@pytest.mark.fault("a training crashes again and again at one step")
def test_restarts_without_progress_end(directory, job, seen):
    with pytest.raises(RuntimeError, match="grpo gave up: its process was killed by SIGSEGV") as raised:
        ending(directory, job, *[-signal.SIGSEGV] * 4, steps=[7, 7, 7, 6])
    seen(str(raised.value), lost="the steps after the newest checkpoint")


def test_what_the_user_can_fix_is_not_tried_again(directory, job):
    with pytest.raises(ValueError, match=r"^micro_batch_size 5 does not divide$"):
        ending(directory, job, (Status.INVALID, "micro_batch_size 5 does not divide"))


@pytest.mark.parametrize("status", [Status.FAILED, Status.NOT_FINITE])
def test_what_would_only_happen_again_is_not_tried_again(directory, job, status):
    with pytest.raises(RuntimeError, match="grpo gave up: the reason"):
        ending(directory, job, (status, "the reason"))


def test_out_of_memory_halves_the_micro_batch_and_remembers_it(directory, job, capsys):
    assert ending(directory, job, *[(Status.OUT_OF_MEMORY, "no memory")] * 3, 0) == [12, 6, 3, 1]
    assert "out of memory; it goes on from its newest checkpoint with micro_batch_size=6 instead of 12" in (
        capsys.readouterr().out
    )
    assert read_json(directory.path / supervise.FIT) == {"micro_batch_size": 1}
    with pytest.raises(RuntimeError, match="gave up: no smaller"):
        ending(directory, job, (Status.OUT_OF_MEMORY, "no smaller"))


def test_out_of_memory_while_screening_is_not_the_micro_batchs(directory, job):
    with pytest.raises(RuntimeError, match="gave up: lower rollout_batch_size"):
        ending(directory, dataclasses.replace(job, task="screen"), (Status.OUT_OF_MEMORY, "lower rollout_batch_size"))
    assert not (directory.path / supervise.FIT).exists()


@pytest.mark.parametrize(("size", "sizes"), [(64, [64, 12, 6, 3, 1]), (24, [24, 12, 6, 3, 1]), (8, [8, 4, 2, 1])])
def test_halving_begins_with_the_rows_that_are_there(directory, job, size, sizes):
    """A recipe may have a micro-batch above the 24 rows of a step, or one that half of it does not divide."""
    job = dataclasses.replace(job, settings=replace(job.settings, micro_batch_size=size))
    assert ending(directory, job, *[(Status.OUT_OF_MEMORY, "no memory")] * (len(sizes) - 1), 0) == sizes


def test_halving_begins_with_the_rows_of_one_process(directory, job):
    settings = replace(TINY.sft, batch_size=48, micro_batch_size=48)
    two = dataclasses.replace(job, stage="sft", settings=settings, scale=replace(job.scale, processes=2))
    assert ending(directory, two, *[(Status.OUT_OF_MEMORY, "no memory")] * 2, 0) == [48, 12, 6]


@pytest.mark.fault("the kernel kills a training on a CPU")
def test_a_kill_without_a_gpu_halves_what_goes_together_and_then_counts(directory, job, capsys, seen):
    job = dataclasses.replace(job, settings=replace(job.settings, rollout_batch_size=4))
    with pytest.raises(RuntimeError, match="grpo gave up: its process was killed, as the kernel does when") as error:
        ending(directory, job, *[-signal.SIGKILL] * 6)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 5 and "started again from its newest checkpoint (restart 2 of 2)" in told[-1]
    assert read_json(directory.path / supervise.FIT) == {"micro_batch_size": 1, "rollout_batch_size": 1}
    seen(told[0])
    seen(str(error.value), fault="the kernel kills it with one row per forward pass too, again and again")


def test_a_kill_beside_a_gpu_says_nothing_of_its_memory(directory, job, tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 0, GPU-aaaa, NVIDIA H200, 580.65.06\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert ending(directory, job, -signal.SIGKILL, 0) == [12, 12]


def test_a_kill_while_screening_halves_what_is_decoded_together(directory, job):
    screening = dataclasses.replace(job, task="screen")
    assert ending(directory, screening, -signal.SIGKILL, 0) == [12, 12]
    assert read_json(directory.path / supervise.FIT) == {"rollout_batch_size": job.settings.rollout_batch_size // 2}


def test_what_an_orphan_said_does_not_count(directory, job):
    Result(Status.TERMINATED, "it was told to end").write(directory.path)
    assert len(ending(directory, job, -signal.SIGKILL, 0)) == 2


def test_of_several_processes_one_that_died_without_a_word_is_started_again(directory, job):
    two = dataclasses.replace(job, scale=replace(job.scale, processes=2))
    assert len(ending(directory, two, 1, 0)) == 2
    with pytest.raises(RuntimeError, match="grpo gave up: the reason"):
        ending(directory, two, (Status.FAILED, "the reason"))


@pytest.mark.parametrize("status", [(Status.TERMINATED, "it was told to end"), -signal.SIGTERM])
def test_an_end_on_request_is_no_failure(directory, job, status):
    with pytest.raises(SystemExit, match="was ended by SIGTERM"):
        ending(directory, job, status)


@pytest.mark.fault("the parent is gone before its worker could bind itself to it")
def test_a_worker_whose_parent_has_gone_before_ends_at_once(job, seen):
    command = [sys.executable, "-m", "components.lib.training.begin", job.text()]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, PARENT: "1"}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM and not done.stdout + done.stderr
    seen(f"the worker ends with {signal.Signals(-done.returncode).name}, before anything heavy is imported")


def test_a_worker_hangs_when_it_is_quiet_for_longer_than_fits_its_pace(directory, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    found = pace.Pace(directory.path)
    for minutes, mark, told in [
        (59, "", ""), (61, "", "nothing to .* for 61.0 minutes, and for 0.0 minutes at most before"),
        (62, "a step", ""), (62 + 600, "", ""), (62 + 621, "", "for 621.0 minutes, and for 62.0 minutes"),
    ]:  # fmt: skip
        clock[0] = 60.0 * minutes
        if mark:
            (directory.path / "curves.jsonl").write_text(mark)
        assert re.search(told or "^$", found.stalled()), minutes


def test_a_finished_training_is_not_done_again(tmp_path, monkeypatch, capsys):
    (tmp_path / "sft.jsonl").write_text("")
    arguments = {
        "stage": "sft", "model": "tiny", "revision": "main", "data": tmp_path, "model_out": tmp_path / "model",
        "curves_out": tmp_path / "curves", "checkpoints": tmp_path / "kept", "seed": 0, "settings": TINY.sft,
        "training": TINY.training, "scale": TINY.scale,
    }  # fmt: skip
    started = []

    def work(job, lock):
        started.append(job)
        for name in ("model", "curves"):
            (job.directory / "preparing" / name).mkdir(parents=True)
        (job.directory / "preparing" / "model" / "w").write_text("1")
        TrainingDir(job.directory).finish({"loss": 0.5})
        return supervise.result_of(job, 0)

    monkeypatch.setattr(supervise, "run_worker", work)
    assert supervise.train(**arguments) == supervise.train(**arguments) == {"loss": 0.5}
    assert len(started) == 1 and "has ended before" in capsys.readouterr().out
    assert (tmp_path / "model" / "w").read_text() == "1"
    supervise.train(**arguments | {"seed": 1})
    assert len(started) == 2


def test_a_training_keeps_the_threads_that_it_began_with(tmp_path, monkeypatch):
    monkeypatch.delenv(machine.CHOSEN_VARIABLE, raising=False)
    assert supervise.threads_of(tmp_path) == {}  # the user's own, or a cluster's
    monkeypatch.setenv(machine.CHOSEN_VARIABLE, "6")
    assert supervise.threads_of(tmp_path) == {"OMP_NUM_THREADS": "6"}
    monkeypatch.setenv(machine.CHOSEN_VARIABLE, "2")
    assert supervise.threads_of(tmp_path) == {"OMP_NUM_THREADS": "6"}


def test_the_seconds_of_a_screening_are_told_and_none_where_none_is_made(directory, job, monkeypatch):
    clock = iter((100.0, 172.04))
    monkeypatch.setattr(supervise, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    asked = []

    def attempt(job):
        asked.append(job.task)
        return Result(Status.DONE)

    assert supervise._screen(job, directory, attempt) == {} and not asked
    screening = dataclasses.replace(job, settings=replace(job.settings, screen_samples=2))
    assert supervise._screen(screening, directory, attempt) == {"screen_seconds": 72.0} and asked == ["screen"]
    write_jsonl(directory.path / "screen-0-of-1.jsonl", [{"id": "a", "right": 1, "of": 2}])
    assert supervise._screen(screening, directory, attempt) == {} and asked == ["screen"]
