"""Which files of components/ decide what is done again, and that code finds its neighbours where it lies itself."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests import ROOT

HASHES = """
import json, sys
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from components.lib import machine
from components.lib.files import PACKAGE
from components.lib.generation.partial import kept
from components.lib.model.files import model_directory
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
    # of a run, of the trainings, and of the completions of an evaluation
    keys = [json.dumps(work.inputs(), sort_keys=True) for work in (job, replace(job, stage="grpo"))]
    with TemporaryDirectory() as folder, kept("evaluate", [], Path(folder), Path(folder)) as partial:
        return [fingerprint_of(recipe, plan), *keys, partial.path.parent.name]

(PACKAGE / "lib" / "new").mkdir()
(PACKAGE / "lib" / "new" / "__init__.py").write_text("")
before, changed = hashes(), {}
several = (PACKAGE / "lib", PACKAGE / "lib" / "recipe")  # whose files do not all count alike
paths = {max(path.parent.glob("*.py")) for path in PACKAGE.rglob("*.py")}
for path in sorted(paths.union(*(folder.glob("*.py") for folder in several))):
    text = path.read_text()
    path.write_text(text + "# another line\\n")
    after = hashes()
    path.write_text(text)
    changed[str(path.relative_to(PACKAGE))] = [
        name for name, old, new in zip(("run", "sft", "grpo", "completions"), before, after, strict=True) if old != new
    ]
(PACKAGE / "__pycache__").mkdir(exist_ok=True)
(PACKAGE / "__pycache__" / "compiled.py").write_text("")
print(json.dumps({
    "changed": changed, "unchanged": before == hashes(), "package": str(PACKAGE), "commit": machine.commit(),
    "tiny": str(model_directory("tiny", "")), "job": job.text(),
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


# The keys that a change changes -> the folders and files where it does; the longest that holds a file counts.
CHANGES = {
    "run sft grpo completions": (".", "lib", "lib/answers", "lib/generation", "lib/model", "lib/new"),
    "run sft grpo": ("lib/training",),
    "run sft": ("sft",),
    "run grpo": ("grpo",),
    "run": ("sample", "standardize", "evaluate", "lib/data", "lib/data/adapters", "lib/tiny", "lib/recipe"),
    "": (
        "preflight", "compare", "gate", "push", "notify", "lib/cluster", "lib/registry", "lib/reporting", "lib/study",
        "lib/recipe/files.py", "lib/recipe/recipes.py", "lib/recipe/reference.py", "lib/recipe/selection.py",
        "lib/recipe/release.py", "lib/command.py", "lib/hub.py", "lib/inside.py", "lib/live.py", "lib/local.py",
        "lib/machine.py", "lib/model_registry.py",
        "lib/place.py", "lib/ending.py", "lib/streams.py", "lib/progress.py", "lib/retry.py",
    ),
}  # fmt: skip


def test_a_change_of_a_file_changes_the_keys_of_what_it_decides_and_no_others(copy, found):
    keys_of = {place: keys for keys, places in CHANGES.items() for place in places}
    folders = {str(path.parent.relative_to(copy / "components")) for path in copy.glob("components/**/__init__.py")}
    assert found["package"] == str(copy / "components") and found["unchanged"]
    assert folders <= set(keys_of), "say what a change in the new folder changes"
    for path, changed in found["changed"].items():
        holding = [place for place in keys_of if place == "." or f"{path}/".startswith(f"{place}/")]
        assert " ".join(changed) == keys_of[max(holding, key=len)], path


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
