"""An evaluation on a volume that is full or closed, of files that are not there, and of a model that is broken."""

import shutil

import pytest

pytest.importorskip("torch", reason="needs torch: no model is evaluated")

from safetensors.torch import load_file, save_file

from components.evaluate.evaluate import evaluate
from components.lib.command import main
from components.lib.files import read_jsonl, write_jsonl
from components.lib.model.files import model_directory
from tests.evaluate.runs import problem

SMALL = ("max_new_tokens=24", "batch_size=4", "problems=0", "gate_problems=0", "protocols=zero-shot")


@pytest.fixture
def data(tmp_path):
    """Twelve problems of each kind."""
    for split in ("evaluation", "gate"):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", [problem(number, split) for number in range(12)])
    return tmp_path / "data"


def run(capsys, data, out, checkpoints, model="tiny"):
    """`python -m components.evaluate`; its exit status and the only line that it says of an error."""
    flags = {"model": model, "revision": "main", "checkpoint": "base", "data": data, "out": out, "seed": 0}
    flags["checkpoints"] = checkpoints
    arguments = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    status = main("evaluate", evaluate, [*arguments, *(f"--set={change}" for change in SMALL)])
    printed = capsys.readouterr()
    said = [line for line in printed.err.splitlines() if line.startswith("components.evaluate: ")]
    assert len(said) == (status != 0) and "Traceback" not in printed.err
    return status, (said or [""])[0], printed.out


@pytest.mark.fault("the volume of the checkpoints is full in the midst of an evaluation")
def test_a_full_volume_loses_no_completion_that_was_written(data, tmp_path, volume, capsys, seen):
    filler = volume.fill(left=3 * 4096)  # about.json, the lock, and one page of completions
    status, said, _ = run(capsys, data, tmp_path / "out", volume.path)
    assert status == 2 and "No space left on device" in said and "partial.jsonl'; free some space there" in said
    [partial] = volume.path.rglob("partial.jsonl")
    kept = partial.read_text().count("\n")
    filler.unlink()
    status, _, printed = run(capsys, data, tmp_path / "again", volume.path)
    assert status == 0 and kept and f"{kept} of 24 completions were there already" in printed
    run(capsys, data, tmp_path / "whole", tmp_path)
    assert list(read_jsonl(tmp_path / "again" / "items.jsonl")) == list(read_jsonl(tmp_path / "whole" / "items.jsonl"))
    seen(said)


@pytest.mark.fault("the volume of the checkpoints, or of the output, is read-only in an evaluation")
@pytest.mark.parametrize("place", ["checkpoints", "out"])
def test_a_read_only_volume_is_named(data, tmp_path, volume, capsys, seen, place):
    volume.remount("ro")
    places = {"checkpoints": tmp_path / "checkpoints", "out": tmp_path / "out"} | {place: volume.path / place}
    status, said, _ = run(capsys, data, **places)
    assert status == 2 and "Read-only file system" in said and str(volume.path) in said and "make it writable" in said
    assert list(tmp_path.rglob("partial.jsonl")) or place == "checkpoints"
    seen(said)


@pytest.mark.fault("a symbolic link of an evaluation points nowhere: to {what}")
@pytest.mark.parametrize("what", ["the checkpoints", "the model", "the weights", "the problems"])
def test_a_link_that_points_nowhere_is_named(data, tmp_path, capsys, seen, what):
    shutil.copytree(model_directory("tiny", ""), tmp_path / "model")
    link = {
        "the checkpoints": tmp_path / "checkpoints", "the model": tmp_path / "model",
        "the weights": tmp_path / "model" / "model.safetensors", "the problems": data / "gate.jsonl",
    }[what]  # fmt: skip
    if link.exists():
        link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "nowhere")
    status, said, _ = run(capsys, data, tmp_path / "out", tmp_path / "checkpoints", tmp_path / "model")
    assert status == 2 and f"{link} is a symbolic link" in said
    seen(said, fault=f"a symbolic link of an evaluation points nowhere: to {what}")


@pytest.mark.fault("an evaluation of a model whose weights are NaN")
def test_a_broken_model_is_named(data, tmp_path, capsys, seen):
    shutil.copytree(model_directory("tiny", ""), tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    save_file(
        {n: t * float("nan") for n, t in weights.items()}, tmp_path / "model" / "model.safetensors", {"format": "pt"}
    )
    status, said, _ = run(capsys, data, tmp_path / "out", tmp_path / "checkpoints", tmp_path / "model")
    assert status == 1 and "NaN" in said and str(tmp_path / "model") in said
    seen(said)
