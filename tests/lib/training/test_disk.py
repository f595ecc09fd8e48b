"""A training on a volume that is full or closed, and of files that are not there, in real processes."""

import dataclasses
import shutil

import pytest

from tests.lib.training.test_supervise import directory, job  # noqa: F401  (fixtures)

pytest.importorskip("torch", reason="needs torch: no training is run")

from components.lib.files import explained
from components.lib.model.files import model_directory
from components.lib.training import supervise
from components.lib.training.checkpoints import TrainingDir, damage_of
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
    with pytest.raises(OSError, match="Read-only file system") as raised:
        supervise.result_of(dataclasses.replace(job, directory=volume.path), 1)
    seen(explained(raised.value), lost="the steps after the newest checkpoint")


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
