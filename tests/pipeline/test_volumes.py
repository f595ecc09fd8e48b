"""The steps without a model, by hand, on a volume that is full or closed, or with a symbolic link to nowhere."""

import json
import subprocess
import sys

import pytest

from components.lib.files import explained
from components.push.push import push
from tests import ROOT
from tests.fixtures.releases import make_run
from tests.fixtures.rows import good, write

STEPS = ("standardize", "compare", "gate")


def step(name, out, tmp_path, evaluations):
    """`python -m components.NAME` with its results in `out`; its exit status and what it said on stderr."""
    tables = [f"{checkpoint}={path}" for checkpoint, path in evaluations.items()]
    flags = {
        "standardize": ["--output", out, "--sources", tmp_path / "sources.json", "--evaluation", tmp_path / "t.jsonl"],
        "compare": ["--output", out, "--evaluations", *tables],
        "gate": ["--decision-out", out / "decision.json", "--base", evaluations["base"], "--candidate",
                 evaluations["grpo"], "--registry", tmp_path / "registry"],
    }[name]  # fmt: skip
    write(tmp_path / "rows.jsonl", good("gsm8k", 6))
    write(tmp_path / "t.jsonl", good("gsm8k", 3, seed=5))
    sources = [
        {"path": str(tmp_path / "rows.jsonl"), "name": "problems", "adapter": "gsm8k"},
        {"path": str(tmp_path / "rows.jsonl"), "name": "traces", "adapter": "gsm8k", "use": "sft"},
    ]
    (tmp_path / "sources.json").write_text(json.dumps(sources))
    command = [sys.executable, "-m", f"components.{name}", *map(str, flags)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def check_line(said, name, path, words):
    assert said.startswith(f"components.{name}: ") and said.count("\n") == 1, said
    assert str(path) in said and words in said and "; " in said, said


@pytest.mark.fault("the volume of a step's results is full")
@pytest.mark.parametrize("name", STEPS)
def test_a_full_volume_is_named(name, tmp_path, evaluations, volume, seen):
    (volume.path / "out").mkdir()
    filler = volume.fill(left=0)
    status, said = step(name, volume.path / "out", tmp_path, evaluations)
    assert status == 2, said
    check_line(said, name, volume.path, "No space left on device")
    filler.unlink()
    assert step(name, volume.path / "out", tmp_path, evaluations)[0] == 0
    seen(said, fault=f"the volume of {name}'s results is full")


@pytest.mark.fault("the volume of a step's results is read-only")
@pytest.mark.parametrize("name", STEPS)
def test_a_read_only_volume_is_named(name, tmp_path, evaluations, volume, seen):
    volume.remount("ro")
    status, said = step(name, volume.path / "out", tmp_path, evaluations)
    assert status == 2, said
    check_line(said, name, volume.path, "Read-only file system")
    seen(said, fault=f"the volume of {name}'s results is read-only")


@pytest.mark.fault("a symbolic link of a step points nowhere")
@pytest.mark.parametrize("name", STEPS)
def test_a_link_that_points_nowhere_is_named(name, tmp_path, evaluations, seen):
    """The folder of the results is one."""
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "nowhere")
    status, said = step(name, link, tmp_path, evaluations)
    assert status == 2, said
    check_line(said, name, link, "is a symbolic link to")
    seen(said, fault=f"a symbolic link of {name} points nowhere")


@pytest.mark.fault("the volume of the registry is full, or read-only, in a push")
@pytest.mark.parametrize("words", ["No space left on device", "Read-only file system"])
def test_a_push_on_such_a_volume_leaves_no_half_model(words, tmp_path, volume, seen):
    run = make_run(tmp_path / "run", registry=str(volume.path / "registry"))
    push(**run)
    before = {path: path.read_bytes() for path in sorted((volume.path / "registry" / "champion").iterdir())}
    if words.startswith("No"):
        volume.fill(left=8 * 4096)
    else:
        volume.remount("ro")
    with pytest.raises(OSError, match=words) as raised:
        push(**make_run(tmp_path / "next", registry=str(volume.path / "registry"), seed=1))
    assert str(volume.path) in explained(raised.value) and "; " in explained(raised.value)
    champions = sorted((volume.path / "registry" / "champion").iterdir())
    assert json.loads(champions[-1].read_bytes())["champion"] == json.loads(list(before.values())[-1])["champion"]
    seen(explained(raised.value), fault=f"a push whose registry says: {words}")
