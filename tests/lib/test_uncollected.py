"""What is imported is left out of Python's garbage collection, which goes on afterwards."""

import gc
import subprocess
import sys

import pytest

from components.lib.uncollected import uncollected
from tests import ROOT

LAST = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count()))\n"


@pytest.fixture
def thawed():
    yield
    gc.unfreeze()


def test_what_came_within_is_left_alone(thawed):
    before = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled() and gc.get_freeze_count() >= before + len(kept)
    assert not any(one is kept for one in gc.get_objects())


def test_a_failed_import_leaves_the_collector_on(thawed):
    with pytest.raises(ImportError), uncollected():
        raise ImportError("broken")
    assert gc.isenabled()


@pytest.mark.parametrize(("imported", "frozen"), [("components.lib.ending", True), ("json", False)])
def test_a_command_ends_without_looking_for_garbage(imported, frozen):
    done = subprocess.run([sys.executable, "-c", f"{LAST}import {imported}"], cwd=ROOT, capture_output=True, text=True)
    assert (int(done.stdout) > 0) is frozen, done.stderr
