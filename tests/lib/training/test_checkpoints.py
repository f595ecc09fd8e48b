"""The places of trainings: keys, locks, whole and broken checkpoints, curves that are cut back."""

import json
import os
import subprocess
import sys

import pytest

from components.lib.files import link_tree, read_json, write_jsonl
from components.lib.training.checkpoints import Place, place_of, whole_rows
from tests import ROOT


@pytest.fixture
def place(tmp_path):
    return place_of(tmp_path, "grpo", {"model": "ab", "seed": 0})


def save(place, step, keep=2, content="weights"):
    """A checkpoint as the trainer leaves it, kept."""
    written = place.writing / f"checkpoint-{step}"
    (written / "inner").mkdir(parents=True)
    (written / "model.safetensors").write_text(f"{content} {step}" * 100)
    (written / "inner" / "rng_state.pth").write_text(f"rng {step}")
    return place.keep(written, step, keep)


def test_the_key_depends_on_every_input_and_on_nothing_else(tmp_path):
    first = place_of(tmp_path, "grpo", {"seed": 0, "model": "ab"})
    assert place_of(tmp_path, "grpo", {"model": "ab", "seed": 0}).path == first.path
    others = [
        place_of(tmp_path, "grpo", {"model": "ab", "seed": 1}),
        place_of(tmp_path, "sft", {"model": "ab", "seed": 0}),
    ]
    assert len({place.path.name for place in (first, *others)}) == 3
    assert read_json(first.path / "about.json") == {"model": "ab", "seed": 0}


def test_the_newest_few_are_kept(place):
    for step in (5, 10, 100):
        save(place, step)
    assert [path.name for path in place.steps()] == ["step-00000010", "step-00000100"]
    assert place.newest() == (100, place.path / "step-00000100")
    save(place, 100, content="again")
    assert "again" in (place.newest()[1] / "model.safetensors").read_text()


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
def test_a_broken_newest_checkpoint_is_passed_over(place, capsys, damage):
    save(place, 5)
    damage(save(place, 10))
    assert place.newest()[0] == 5
    assert "step-00000010 is passed over" in capsys.readouterr().out and len(place.steps()) == 1


def test_what_was_being_written_does_not_count(place):
    save(place, 5)
    half = place.writing / "checkpoint-10"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_text("half")
    assert place.newest()[0] == 5 and not place.writing.exists()


def test_without_any_checkpoint_there_is_none(place):
    assert place.newest() is None


def test_the_lock_keeps_a_second_process_out_and_goes_with_its_holder(place):
    code = (
        "import sys, pathlib; from components.lib.training.checkpoints import Place\n"
        "with Place(pathlib.Path(sys.argv[1])).locked():\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(place.path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=rf"another run trains in .* \(host .*, process {holder.pid}, since 20"):
            with place.locked():
                pass
        holder.kill()
    with place.locked():
        assert f"process {os.getpid()}," in (place.path / "lock").read_text()


def test_curves_are_cut_back_to_the_checkpoint(place):
    place.curves.mkdir()
    write_jsonl(place.curves / "curves.jsonl", [{"step": n, "loss": 1 / n} for n in range(1, 9)])
    with (place.curves / "samples.jsonl").open("w") as file:
        file.write(json.dumps({"step": 3}) + "\n" + json.dumps({"step": 6}) + '\n{"step": 7, "compl')
    place.rewind(5)
    assert [row["step"] for row in whole_rows(place.curves / "curves.jsonl")] == [1, 2, 3, 4, 5]
    assert (place.curves / "samples.jsonl").read_text() == '{"step": 3}\n'
    place.rewind(0)
    assert whole_rows(place.curves / "curves.jsonl") == []


def test_zeros_after_a_power_cut_end_the_rows(tmp_path):
    (tmp_path / "curves.jsonl").write_bytes(b'{"step": 1}\n' + b"\0" * 64)
    assert whole_rows(tmp_path / "curves.jsonl") == [{"step": 1}]


def test_a_finished_training_leaves_its_result_alone(place):
    save(place, 5)
    prepared = place.path / "preparing"
    (prepared / "model").mkdir(parents=True)
    (prepared / "model" / "w").write_text("final")
    place.finish(prepared)
    assert (place.finished / "model" / "w").read_text() == "final"
    assert place.steps() == [] and not prepared.exists()


def test_a_tree_is_linked_over_what_was_there(tmp_path):
    (tmp_path / "a" / "inner").mkdir(parents=True)
    (tmp_path / "a" / "inner" / "f").write_text("new")
    (tmp_path / "b" / "inner").mkdir(parents=True)
    (tmp_path / "b" / "inner" / "f").write_text("old")
    link_tree(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "inner" / "f").read_text() == "new"


def test_a_place_that_cannot_be_made_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), Place(tmp_path / "file" / "x").locked():
        pass
