"""A file anywhere in components/ decides what is trained again, and what looks for its neighbours finds them there."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests import ROOT

HASHES = """
import json, sys
from dataclasses import fields
from pathlib import Path

from components.lib import machine, models
from components.lib.files import PACKAGE, code_sha256
from components.lib.recipe import recipes
from components.lib.registry.plan import Plan
from components.lib.training.job import Job
from components.preflight.preflight import fingerprint_of

recipe, folders = recipes.TINY, {field.name: Path(sys.argv[1]) for field in fields(Job) if field.type is Path}
plan = Plan(model="tiny", revision="", sources=recipe.sources, evaluation=recipe.evaluation, seed=0)
job = Job(
    stage="sft", model="tiny", revision="", seed=0, settings=recipe.sft, training=recipe.training, scale=recipe.scale,
    **folders,
)

def hashes():
    return code_sha256(), json.dumps(job.inputs(), sort_keys=True), fingerprint_of(recipe, plan)

before, same = hashes(), {}
for folder in sorted({path.parent for path in PACKAGE.rglob("*.py")}):
    path = max(folder.glob("*.py"))
    text = path.read_text()
    path.write_text(text + "# another line\\n")
    same[str(folder.relative_to(PACKAGE))] = [old == new for old, new in zip(before, hashes(), strict=True)]
    path.write_text(text)
(PACKAGE / "__pycache__").mkdir(exist_ok=True)
(PACKAGE / "__pycache__" / "compiled.py").write_text("")
print(json.dumps({
    "same": same, "unchanged": before == hashes(), "package": str(PACKAGE), "commit": machine.commit(),
    "tiny": str(models.model_directory("tiny", "")), "job": job.text(),
}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of components/ in a repository of its own, of one commit."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "components", folder / "components", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "-m", "first")
    return folder


@pytest.fixture(scope="module")
def found(copy):
    """What the code of the copy says of itself."""
    (copy / "data").mkdir()
    (copy / "data" / "sft.jsonl").write_text("no JSON\n")
    done = run(copy, "-c", HASHES, str(copy / "data"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def git(folder, *arguments):
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def run(copy, *arguments):
    """Python with the copy's components in place of this checkout's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GRPO_", "GIT_"))}
    environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True)


def test_a_file_of_any_step_or_wing_changes_the_training_and_the_fingerprint(copy, found):
    steps = {path.parent.name for path in copy.glob("components/*/component.py")}
    wings = {f"lib/{path.parent.name}" for path in copy.glob("components/lib/*/__init__.py")}
    assert found["package"] == str(copy / "components") and found["unchanged"]
    assert len(steps) == 10 and len(wings) > 5 and steps | wings | {".", "lib"} <= set(found["same"])
    assert not [folder for folder, same in found["same"].items() if any(same)]


def test_commit_and_embedded_model_are_the_copys(copy, found):
    assert found["commit"] == git(copy, "rev-parse", "HEAD")
    assert found["tiny"].startswith(str(copy)) and os.path.exists(f"{found['tiny']}/model.safetensors")


@pytest.mark.slow
def test_an_error_of_the_copys_own_needs_no_traceback(copy, found):
    pytest.importorskip("torch", reason="needs torch: no training is run")
    done = run(copy, "-m", "components.lib.training.worker", found["job"])
    assert done.returncode and "Traceback" not in done.stderr, done.stderr
    told = [path.read_text() for path in (copy / "data").glob("*.json")]
    assert any("sft.jsonl:1 is not JSON" in text for text in told), told
