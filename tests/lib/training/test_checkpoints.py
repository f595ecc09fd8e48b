"""The directories of trainings: keys, locks, whole and broken checkpoints, curves that are cut back."""

import json
import os
import subprocess
import sys

import pytest

from components.lib.files import link_tree, read_json, write_jsonl
from components.lib.training.checkpoints import TrainingDir, whole_rows
from components.lib.training.job import Result, Status
from tests import ROOT


@pytest.fixture
def directory(tmp_path):
    return TrainingDir.of(tmp_path, "grpo", {"model": "ab", "seed": 0})


def save(directory, step, keep=2, content="weights"):
    """A checkpoint as the trainer leaves it, kept."""
    written = directory.writing / f"checkpoint-{step}"
    (written / "inner").mkdir(parents=True)
    (written / "model.safetensors").write_text(f"{content} {step}" * 100)
    (written / "inner" / "rng_state.pth").write_text(f"rng {step}")
    return directory.keep(written, step, keep)


def test_the_key_depends_on_every_input_and_on_nothing_else(tmp_path):
    first = TrainingDir.of(tmp_path, "grpo", {"seed": 0, "model": "ab"})
    assert TrainingDir.of(tmp_path, "grpo", {"model": "ab", "seed": 0}).path == first.path
    others = [
        TrainingDir.of(tmp_path, "grpo", {"model": "ab", "seed": 1}),
        TrainingDir.of(tmp_path, "sft", {"model": "ab", "seed": 0}),
    ]
    assert len({directory.path.name for directory in (first, *others)}) == 3
    assert read_json(first.path / "about.json") == {"model": "ab", "seed": 0}


def test_the_newest_few_are_kept(directory):
    for step in (5, 10, 100):
        save(directory, step)
    assert [path.name for path in directory.steps()] == ["step-00000010", "step-00000100"]
    assert directory.newest() == (100, directory.path / "step-00000100")
    save(directory, 100, content="again")
    assert "again" in (directory.newest()[1] / "model.safetensors").read_text()


def cut(path):
    os.truncate(path / "model.safetensors", 100)


def flip(path):
    data = bytearray((path / "model.safetensors").read_bytes())
    data[7] ^= 1
    (path / "model.safetensors").write_bytes(data)


def lose(path):
    (path / "inner" / "rng_state.pth").unlink()


def unlist(path):
    (path / "manifest.json").unlink()


def tear(path):
    (path / "manifest.json").write_text('{"files": {"model')


@pytest.mark.parametrize("damage", [cut, flip, lose, unlist, tear])
def test_a_broken_newest_checkpoint_is_passed_over(directory, capsys, damage):
    save(directory, 5)
    damage(save(directory, 10))
    assert directory.newest()[0] == 5
    assert "step-00000010 is passed over" in capsys.readouterr().out and len(directory.steps()) == 1


def test_what_was_being_written_does_not_count(directory):
    save(directory, 5)
    half = directory.writing / "checkpoint-10"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_text("half")
    assert directory.newest()[0] == 5 and not directory.writing.exists()


def test_without_any_checkpoint_there_is_none(directory):
    assert directory.newest() is None


def test_the_lock_keeps_a_second_process_out_and_goes_with_its_holder(directory):
    code = (
        "import sys, pathlib; from components.lib.training.checkpoints import TrainingDir\n"
        "with TrainingDir(pathlib.Path(sys.argv[1])).locked():\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(directory.path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=rf"another run works in .* \(host .*, process {holder.pid}, since 20"):
            with directory.locked():
                pass
        holder.kill()
    with directory.locked():
        assert f"process {os.getpid()}," in (directory.path / "lock").read_text()


def test_curves_are_cut_back_to_the_checkpoint(directory):
    directory.curves.mkdir()
    write_jsonl(directory.curves / "curves.jsonl", [{"step": n, "loss": 1 / n} for n in range(1, 9)])
    with (directory.curves / "samples.jsonl").open("w") as file:
        file.write(json.dumps({"step": 3}) + "\n" + json.dumps({"step": 6}) + '\n{"step": 7, "compl')
    directory.rewind(5)
    assert [row["step"] for row in whole_rows(directory.curves / "curves.jsonl")] == [1, 2, 3, 4, 5]
    assert (directory.curves / "samples.jsonl").read_text() == '{"step": 3}\n'
    directory.rewind(0)
    assert whole_rows(directory.curves / "curves.jsonl") == []


def test_zeros_after_a_power_cut_end_the_rows(tmp_path):
    (tmp_path / "curves.jsonl").write_bytes(b'{"step": 1}\n' + b"\0" * 64)
    assert whole_rows(tmp_path / "curves.jsonl") == [{"step": 1}]


def test_a_finished_training_leaves_its_result_alone(directory):
    save(directory, 5)
    (directory.preparing / "model").mkdir(parents=True)
    (directory.preparing / "model" / "w").write_text("final")
    assert directory.result() is None
    directory.finish({"loss": 0.5})
    assert (directory.finished / "model" / "w").read_text() == "final"
    assert directory.result() == Result(Status.DONE, numbers={"loss": 0.5})
    assert directory.steps() == [] and not directory.preparing.exists()


def test_a_tree_is_linked_over_what_was_there(tmp_path):
    (tmp_path / "a" / "inner").mkdir(parents=True)
    (tmp_path / "a" / "inner" / "f").write_text("new")
    (tmp_path / "b" / "inner").mkdir(parents=True)
    (tmp_path / "b" / "inner" / "f").write_text("old")
    link_tree(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "inner" / "f").read_text() == "new"


def test_a_directory_that_cannot_be_made_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), TrainingDir(tmp_path / "file" / "x").locked():
        pass
