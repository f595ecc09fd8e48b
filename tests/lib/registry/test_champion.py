"""Who may name the champion: the run that holds the lock at that very moment, whatever happened since it looked."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from components.lib.registry import lock
from components.lib.registry.base import Store
from components.lib.registry.champion import PREFIX, read_champion
from components.lib.registry.directory import DirectoryStore
from components.lib.registry.store import open_store
from tests.fixtures.minio_server import MISSING, MinioServer, find_minio

HOUR = 3600
WAIT_S = 30


@pytest.fixture(params=["directory", pytest.param("minio", marks=pytest.mark.skipif(not find_minio(), reason=MISSING))])
def place(request, tmp_path, monkeypatch) -> Iterator[str]:
    """The address of an empty registry."""
    monkeypatch.delenv(lock.OWNER_VARIABLE, raising=False)
    if request.param == "directory":
        yield str(tmp_path / "registry")
        return
    with MinioServer(tmp_path / "minio") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.client().make_bucket("runs")
        yield "s3://runs/registry"


# Run A crowns its model, and is stopped where it has checked the lock and is about to write.
STOPPED = f"""
import os, signal, sys
from components.lib.registry import lock
from components.lib.registry.base import Store
from components.lib.registry.store import open_store
store, create = open_store(sys.argv[1]), Store.create

def stop_and_create(self, key, value):
    if key.startswith("{PREFIX}/"):
        os.kill(os.getpid(), signal.SIGSTOP)
    return create(self, key, value)

Store.create = stop_and_create
try:
    lock.crown(store, "A", {{"version": "a"}})
except ValueError as error:
    sys.exit(f"{{error}}")
"""


def stopped(process: subprocess.Popen) -> bool:
    with open(f"/proc/{process.pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


@pytest.mark.fault("a run is stopped after it has checked its lock, another promotes a model, the first goes on")
@pytest.mark.parametrize("crowned", [True, False])
def test_a_run_that_was_stopped_cannot_name_the_champion(place, crowned, seen):
    """Neither when the other run has promoted a model meanwhile, nor before it does."""
    store = open_store(place)
    lock.take(store, "A", HOUR)
    with subprocess.Popen([sys.executable, "-c", STOPPED, place], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + WAIT_S
        while not stopped(process):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        store.write_json("runs/A/outcome.json", {})  # it is taken for dead
        lock.take(store, "B", HOUR)
        if crowned:
            lock.crown(store, "B", {"version": "b"})
        os.kill(process.pid, signal.SIGCONT)
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1 and "run A has lost the registry's lock to run B" in said
    if not crowned:
        assert read_champion(store) == {}
        lock.crown(store, "B", {"version": "b"})
    assert read_champion(store) == {"version": "b"} and len(store.keys(PREFIX)) == 1
    seen(said)


class Watched(DirectoryStore):
    """A store that calls `between` before its operation number `at`."""

    def __init__(self, root, at, between):
        super().__init__(root)
        self.left, self.between = at, between

    def _step(self):
        self.left -= 1
        if self.left == -1:
            self.between()

    def keys(self, prefix):
        self._step()
        return super().keys(prefix)

    def read(self, key):
        self._step()
        return super().read(key)

    def create_bytes(self, key, data):
        self._step()
        return super().create_bytes(key, data)

    def delete(self, key):
        self._step()
        super().delete(key)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_from_the_moment_a_lock_is_taken_over_the_champion_is_its_holders(tmp_path, monkeypatch, rounds):
    """Run A is overtaken before each single operation of its promotion.

    Several rounds of promotions delete the very number that it would write, so that it is free again.
    """
    monkeypatch.delenv(lock.OWNER_VARIABLE, raising=False)
    for at in range(40):
        plain, found = DirectoryStore(tmp_path / f"{at}"), []

        def overtake(store: Store = plain, found: list = found) -> None:
            store.write_json("runs/A/outcome.json", {})
            for number in range(rounds):
                lock.take(store, f"B{number}", HOUR)
                lock.crown(store, f"B{number}", {"version": f"b{number}"})
                lock.release(store, f"B{number}")
            lock.take(store, "C", HOUR)
            found.append(read_champion(store))

        lock.take(plain, "A", HOUR)
        watched = Watched(plain.root, at, overtake)
        if not overtaken(watched):
            break
        assert read_champion(plain) == found[0] and len(plain.keys(PREFIX)) == 1
    assert watched.left >= 0 and read_champion(plain) == {"version": "a"}, "it was never left alone"
    assert at > 6, "a promotion has more operations"


def overtaken(store: Store) -> bool:
    """Whether run A is told, while it promotes its model, that it has lost the lock."""
    try:
        lock.crown(store, "A", {"version": "a"})
    except ValueError as error:
        assert "run A has lost the registry's lock" in str(error)
        return True
    return store.left < 0


def test_a_lock_that_was_taken_by_a_run_killed_there_reserves_when_it_is_taken_again(tmp_path):
    store = open_store(str(tmp_path))
    for run in ("A", "B"):
        lock.take(store, run, HOUR)
        lock.release(store, run)
    lock.take(store, "C", HOUR)
    store.write_json(store.keys(PREFIX)[0], {"run_id": "B", "champion": None})  # C was killed before it wrote it
    with pytest.raises(ValueError, match="run C has lost the registry's lock"):
        lock.crown(store, "C", {"version": "c"})
    lock.take(store, "C", HOUR)
    lock.crown(store, "C", {"version": "c"})
    assert read_champion(store) == {"version": "c"}
