"""The laws of .importlinter: each fails when it is broken on purpose, and holds as the code is (`make check`)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> str:
    done = subprocess.run([LINT, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True,
                          env={"PYTHONPATH": str(folder), "PATH": ""})  # fmt: skip
    return f"{done.returncode}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("module", "line", "law"),
    [
        ("gate/gate.py", "from components.evaluate import evaluate", "No step imports another step"),
        ("lib/data/sources.py", "from components.standardize import standardize", "lib imports no step"),
        ("lib/registry/store.py", "from components.lib.cluster import images", "The wings of lib stand on each other"),
        ("lib/registry/base.py", "from components.lib.registry import s3", "No circles inside a wing"),
        ("gate/gate.py", "import kfp", "Only component.py files, the local runner and lib.cluster know KFP"),
        ("lib/reporting/history.py", "from kfp import dsl", "Only component.py files, the local runner"),
    ],
)
def test_a_broken_law_is_told(module, line, law, tmp_path):
    shutil.copytree(ROOT / "components", tmp_path / "components", ignore=shutil.ignore_patterns("base", "__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    path = tmp_path / "components" / module
    path.write_text(f"{path.read_text()}\n\ndef _broken():\n    {line}\n")
    told = lint(tmp_path)
    assert told.startswith("1: ") and any(law in row and "BROKEN" in row for row in told.splitlines()), told


def test_steps_and_lib_are_the_only_folders_and_say_what_they_answer_for():
    folders = {path.parent.name for path in (ROOT / "components").glob("*/__init__.py")}
    steps = {path.parent.name for path in (ROOT / "components").glob("*/component.py")}
    assert folders == steps | {"lib"} and len(steps) == 10
    for path in (ROOT / "components").rglob("__init__.py"):
        assert path.read_text().startswith('"""') and len(path.read_text()) > 40, path
