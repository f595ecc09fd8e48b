"""A training on a volume that is full or closed, and of files that are not there, in real processes."""

import dataclasses
import shutil

import pytest

from tests.lib.training.test_supervise import directory, job  # noqa: F401  (fixtures)

pytest.importorskip("torch", reason="needs torch: no training is run")

from components.lib.model.files import model_directory
from components.lib.training import supervise
from components.lib.training.checkpoints import TrainingDir, damage_of
from components.lib.training.job import Result, Status
from tests.lib.training.runs import finish, start


def said_in(printed, stage):
    """The line that a step says last."""
    assert "Traceback" not in printed, printed
    return next(line for line in printed.splitlines() if line.startswith(f"components.{stage}: "))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "grpo"])
@pytest.mark.fault("the volume of the checkpoints is full in the midst of a training")
def test_a_full_volume_loses_no_checkpoint(data, tmp_path, volume, seen, stage):
    """8 MiB hold one checkpoint and not a second."""
    few = {"max_steps": 3, "checkpoints": volume.path} | ({"plateau_steps": 0} if stage == "grpo" else {})
    said = said_in(finish(start(stage, data, tmp_path, **few), status=2), stage)
    assert "No space left on device" in said and str(volume.path) in said and "free some space there" in said
    assert f"in {volume.path}: {stage}-" in said and "keep_checkpoint_days" in said
    [path] = volume.path.glob(f"{stage}-*")
    step, checkpoint = TrainingDir(path).newest()
    assert step == 1 and not damage_of(checkpoint) and not (path / "writing").exists()
    seen(
        said, lost="the steps after the newest checkpoint", fault=f"the volume is full in the midst of {stage.upper()}"
    )


@pytest.mark.fault("the volume of the checkpoints is read-only before a training")
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_read_only_volume_is_named(data, tmp_path, volume, seen, stage):
    volume.remount("ro")
    said = said_in(finish(start(stage, data, tmp_path, checkpoints=volume.path), status=2), stage)
    assert "Read-only file system" in said and str(volume.path) in said and "make it writable" in said
    seen(said)


@pytest.mark.fault("the volume of the checkpoints becomes read-only, so that a worker cannot say so")
def test_a_worker_that_could_not_say_why_it_ended_is_told_of(job, volume, seen):
    volume.remount("ro")
    with pytest.raises(ValueError, match="Read-only file system") as raised:
        supervise.result_of(dataclasses.replace(job, directory=volume.path), 1)
    seen(str(raised.value), lost="the steps after the newest checkpoint")


@pytest.mark.fault("the volume is so full that a worker's last word has no room")
def test_a_word_that_had_no_room_is_none_and_the_full_volume_is_named(job, volume, seen):
    place = volume.path / "grpo-0123456789abcdef"
    place.mkdir()
    with pytest.raises(OSError, match="No space left"), (volume.path / "old").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(OSError, match="No space left on device: .*result.json"):
        Result(Status.FAILED, "the volume is full").write(place)
    assert Result.read(place) is None and not list(place.iterdir())
    with pytest.raises(
        ValueError, match="No space left .* in .*: grpo-0123456789abcdef 0.00 GiB; .*keep_checkpoint_"
    ) as e:
        supervise.result_of(dataclasses.replace(job, directory=place), 1)
    (place / "result.json").touch()  # as older code left it
    assert Result.read(place) is None
    seen(str(e.value), lost="the steps after the newest checkpoint")


def test_the_first_word_is_heard_and_done_stands_above_all(tmp_path):
    for said in (Result(Status.FAILED, "first"), Result(Status.LOST, "second")):
        said.write(tmp_path)
    assert Result.read(tmp_path).message == "first"
    Result(Status.DONE).write(tmp_path)
    assert Result.read(tmp_path).status is Status.DONE and len(list(tmp_path.iterdir())) == 1


@pytest.mark.fault("a symbolic link of a training points nowhere")
@pytest.mark.parametrize("what", ["checkpoints", "model", "weights", "sft.jsonl", "problems.jsonl"])
def test_a_link_that_points_nowhere_is_named(data, tmp_path, seen, what):
    shutil.copytree(model_directory("tiny", ""), tmp_path / "model")
    shutil.copytree(data, tmp_path / "data")
    link = {
        "checkpoints": tmp_path / "checkpoints", "model": tmp_path / "model",
        "weights": tmp_path / "model" / "model.safetensors",
    }.get(what, tmp_path / "data" / what)  # fmt: skip
    if link.exists():
        link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "nowhere")
    stage = "grpo" if what == "problems.jsonl" else "sft"
    process = start(stage, tmp_path / "data", tmp_path, tmp_path / "model", checkpoints=tmp_path / "checkpoints")
    said = said_in(finish(process, status=2), stage)
    assert f"{link} is a symbolic link" in said
    seen(said, fault=f"a symbolic link of a training points nowhere: {what}")
