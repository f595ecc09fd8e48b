"""`make image`: which tag and which commit an image gets."""

import shutil
import subprocess

import pytest

from tests import ROOT

MAKEFILE = ROOT / "Makefile"

pytestmark = pytest.mark.skipif(not shutil.which("make") or not shutil.which("git"), reason="needs make and git")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository of one commit with this Makefile."""
    for name in ("TAG", "GIT_DIR", "GIT_WORK_TREE", "MAKEFLAGS"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(MAKEFILE, tmp_path)
    for command in ("init -q", "add Makefile", "-c user.name=x -c user.email=x@x commit -q -m first"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    return tmp_path


def make(checkout, *arguments):
    """The commands of `make image`, which are not run."""
    return subprocess.run(["make", "-n", "image", *arguments], cwd=checkout, capture_output=True, text=True)


def test_tag_and_label_are_the_commit(checkout):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True).stdout.strip()
    printed = make(checkout).stdout
    assert f"COMMIT={head} " in printed and f"--tag grpo-pipeline/data:{head[:12]}\n" in printed


def test_changed_files_need_a_tag_and_the_label_tells_of_them(checkout):
    with (checkout / "Makefile").open("a") as makefile:
        makefile.write("# changed\n")
    done = make(checkout)
    assert done.returncode == 2 and "-dirty names no commit: commit the changes, or give TAG=NAME" in done.stderr
    printed = make(checkout, "TAG=mine").stdout
    assert "--tag grpo-pipeline/data:mine\n" in printed and "-dirty " in printed.split("COMMIT=")[1][:50]
