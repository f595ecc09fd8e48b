"""What the parent of a training does after each way in which a worker can end, with real processes for workers."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.lib.files import read_json, write_json
from components.lib.recipe.recipes import TINY
from components.lib.recipe.settings import replace
from components.lib.training import supervise
from components.lib.training.checkpoints import place_of
from components.lib.training.job import Job


@pytest.fixture
def place(tmp_path):
    return place_of(tmp_path, "grpo", {"seed": 0})


@pytest.fixture
def job(place):
    settings = replace(TINY.grpo, micro_batch_size=12, prompts_per_step=6, generations=4)
    return Job(stage="grpo", model="tiny", revision="main", data=Path("data"), place=place.path, seed=0,
               settings=settings, training=replace(TINY.training, restarts=2), scale=TINY.scale)  # fmt: skip


def ending(place, job, *ways):
    """Run the parent's loop over workers that end in these ways; returns the micro-batches they were started with.

    A way is an exit status, a signal's negative number, or (status, what the worker said).
    """
    seen, left = [], list(ways)

    def work(job):
        seen.append(job.settings.micro_batch_size)
        status, said = left.pop(0) if isinstance(left[0], tuple) else (left.pop(0), "")
        if said:
            write_json(place.path / supervise.SAID, {"status": status, "said": said})
        end = f"import os, sys; os.kill(os.getpid(), {-status})" if status < 0 else f"raise SystemExit({status})"
        return subprocess.run([sys.executable, "-c", end], check=False).returncode

    supervise._until_done(job, place, work)
    return seen


def test_a_job_travels_as_text(job):
    assert Job.read(job.text()) == job
    assert Job.read(replace(job, resume="/x/step-00000005").text()).resume == "/x/step-00000005"


def test_a_worker_that_is_killed_or_loses_its_device_starts_again(place, job, capsys):
    assert len(ending(place, job, -signal.SIGKILL, (supervise.DEVICE, "CUDA error: lost"), 0)) == 3
    printed = capsys.readouterr().out
    assert "killed by SIGKILL (the host's memory ran out?); it is started again" in printed
    assert "CUDA error: lost" in printed and "restart 2 of 2" in printed


def test_restarts_end(place, job):
    with pytest.raises(RuntimeError, match="grpo gave up: its process was killed by SIGSEGV"):
        ending(place, job, *[-signal.SIGSEGV] * 3)


def test_what_the_user_can_mend_is_not_tried_again(place, job):
    with pytest.raises(ValueError, match=r"^micro_batch_size 5 does not divide$"):
        ending(place, job, (supervise.MENDABLE, "micro_batch_size 5 does not divide"))


@pytest.mark.parametrize("status", [1, supervise.NOT_FINITE])
def test_what_would_only_happen_again_is_not_tried_again(place, job, status):
    with pytest.raises(RuntimeError, match="grpo gave up: the reason"):
        ending(place, job, (status, "the reason"))


def test_out_of_memory_halves_the_micro_batch_and_remembers_it(place, job, capsys):
    assert ending(place, job, *[supervise.MEMORY] * 3, 0) == [12, 6, 3, 1]
    assert "out of memory with 12 rows per forward pass" in capsys.readouterr().out
    assert read_json(place.path / supervise.FIT) == {"micro_batch_size": 1}
    with pytest.raises(RuntimeError, match="gave up: no smaller"):
        ending(place, job, (supervise.MEMORY, "no smaller"))


def test_out_of_memory_while_screening_is_not_the_micro_batchs(place, job):
    with pytest.raises(RuntimeError, match="gave up: lower rollout_batch_size"):
        ending(place, replace(job, task="screen"), (supervise.MEMORY, "lower rollout_batch_size"))
    assert not (place.path / supervise.FIT).exists()


def test_what_an_orphan_said_does_not_count(place, job):
    write_json(place.path / supervise.SAID, {"status": supervise.TERMINATED, "said": "it was told to end"})
    assert len(ending(place, job, -signal.SIGKILL, 0)) == 2


def test_of_several_processes_one_that_died_without_a_word_is_started_again(place, job):
    two = replace(job, scale=replace(job.scale, processes=2))
    assert len(ending(place, two, 1, 0)) == 2
    with pytest.raises(RuntimeError, match="grpo gave up: the reason"):
        ending(place, two, (1, "the reason"))


@pytest.mark.parametrize("status", [supervise.TERMINATED, -signal.SIGTERM])
def test_an_end_on_request_is_no_failure(place, job, status):
    with pytest.raises(SystemExit):
        ending(place, job, status)


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
            (job.place / "finished" / name).mkdir(parents=True)
        (job.place / "finished" / "model" / "w").write_text("1")
        write_json(job.place / "finished" / "numbers.json", {"loss": 0.5})
        return 0

    monkeypatch.setattr(supervise, "run_worker", work)
    assert supervise.train(**arguments) == supervise.train(**arguments) == {"loss": 0.5}
    assert len(started) == 1 and "has ended before" in capsys.readouterr().out
    assert (tmp_path / "model" / "w").read_text() == "1"
    supervise.train(**arguments | {"seed": 1})
    assert len(started) == 2
