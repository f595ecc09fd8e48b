"""The laws of .importlinter: each fails when it is broken on purpose, and holds as the code is (`make check`)."""

import ast
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


def encodes(call: ast.Call) -> bool:
    """Whether a call opens no text, or says in which encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    words = {word.arg or "encoding": word.value for word in call.keywords}  # **form is trusted
    if "encoding" in words or "errors" in words:
        return True
    if name in ("read_text", "write_text"):  # the function of lib/files.py, or the method
        return isinstance(call.func, ast.Name) or len(call.args) == 1 + (name == "write_text")
    if name in ("run", "Popen", "check_output"):
        return not ({"text", "universal_newlines"} & set(words))
    if name not in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
        return True
    if isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") in ("os", "gzip") and name == "open":
        return True  # a descriptor, and bytes
    binary = name.endswith("TemporaryFile")  # their default
    modes = [*call.args, words.get("mode", ast.Constant(""))]
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    return any("b" in text and len(text) < 4 for text in texts) or (binary and not any(texts))


def test_whoever_reads_or_writes_text_says_that_it_is_utf8():
    paths = [ROOT / "pipeline.py", *(ROOT / "components").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not isinstance(node, ast.Call) or encodes(node), f"{path.relative_to(ROOT)}:{node.lineno}"


@pytest.mark.parametrize(
    ("code", "fine"),
    [
        ("open(p)", False), ("p.open()", False), ("p.open('w')", False), ("p.read_text()", False),
        ("p.write_text(t)", False), ("subprocess.run(c, text=True)", False), ("NamedTemporaryFile('w')", False),
        ("open(p, encoding='utf-8')", True), ("p.open('rb')", True), ("write_text(p, t)", True),
        ("subprocess.run(c)", True), ("NamedTemporaryFile()", True), ("os.open(p, 0)", True),
    ],
)  # fmt: skip
def test_the_law_of_encodings_sees_what_has_none(code, fine):
    assert encodes(ast.parse(code).body[0].value) == fine
