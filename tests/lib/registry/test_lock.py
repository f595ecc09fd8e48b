"""The lock of a registry: one holder, and when a dead one's lock is free."""

import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components.lib.registry import lock
from components.lib.registry.directory import DirectoryStore
from components.lib.registry.record import iso, recorded
from components.lib.registry.store import open_store

HOUR = 3600


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv(lock.OWNER_VARIABLE, raising=False)
    return open_store(str(tmp_path))


def age(store, seconds):
    """Make the lock as old as if it had been taken before `seconds`."""
    held = lock.current(store)
    store.write_json(held.key, held.value | {"taken": iso(time.time() - seconds)})


def test_a_second_run_is_told_whose_the_registry_is(store):
    lock.take(store, "first", HOUR)
    lock.take(store, "first", HOUR)  # a step that is tried again
    with pytest.raises(ValueError, match=r"is in use by run first since .*, its last sign of life 0 s ago; wait"):
        lock.take(store, "second", HOUR)
    lock.release(store, "second")
    lock.check(store, "first")
    lock.release(store, "first")
    lock.take(store, "second", HOUR)
    lock.check(store, "second")
    assert store.keys(lock.PREFIX) == ["lock/00000002.json"]


def test_only_one_of_many_takes_over_a_dead_runs_lock(store):
    lock.take(store, "dead", HOUR)
    age(store, 2 * HOUR)
    won, told = [], []
    start = threading.Barrier(8)

    def work(name):
        start.wait()
        try:
            lock.take(store, name, HOUR)
            won.append(name)
        except ValueError as error:
            told.append(str(error))

    threads = [threading.Thread(target=work, args=(f"run-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(told) == 7
    lock.check(store, won[0])


class Overtaken(DirectoryStore):
    """A store in which `run A` takes the lock beside each first call of a method."""

    def __init__(self, root, method):
        super().__init__(root)
        self.method = method

    def keys(self, prefix):
        listed = super().keys(prefix)
        self._overtake("keys")
        return listed

    def read(self, key):
        self._overtake("read")
        return super().read(key)

    def _overtake(self, method):
        if method == self.method:
            self.method = ""
            lock.take(DirectoryStore(self.root), "A", HOUR)


@pytest.mark.parametrize(("method", "said"), [("read", "in use by run A"), ("keys", "another run has just taken")])
@pytest.mark.parametrize("before", [False, True])
def test_a_run_that_is_overtaken_while_it_looks_does_not_take_the_lock(store, method, said, before):
    if before or method == "read":
        lock.take(store, "old", HOUR)
        lock.release(store, "old")
    with pytest.raises(ValueError, match=f"{said}|in use by run A"):
        lock.take(Overtaken(store.root, method), "C", HOUR)
    lock.check(store, "A")
    assert len(store.keys(lock.PREFIX)) == 1


def test_a_lock_below_another_is_none(store, monkeypatch):
    """As if the listing had missed the newer one."""
    missed = DirectoryStore(store.root)
    monkeypatch.setattr(missed, "keys", lambda prefix: monkeypatch.undo() or [])
    lock.take(store, "old", HOUR)
    lock.release(store, "old")
    lock.take(store, "A", HOUR)
    with pytest.raises(ValueError, match="another run has just taken the lock .*00000002.json"):
        lock.take(missed, "C", HOUR)
    assert store.keys(lock.PREFIX) == ["lock/00000002.json"]


def test_a_sign_of_life_of_any_step_keeps_the_lock(store, tmp_path):
    lock.take(store, "slow", HOUR)
    age(store, 2 * HOUR)
    with recorded(str(tmp_path), "slow", "grpo"), pytest.raises(ValueError, match="in use by run slow"):
        lock.take(store, "next", HOUR)


def test_a_run_that_has_ended_holds_nothing(store, capsys):
    lock.take(store, "ended", HOUR)
    store.write_json("runs/ended/outcome.json", {})
    lock.take(store, "next", HOUR)
    assert "taken over from run ended: it has ended" in capsys.readouterr().out


def test_a_killed_process_of_this_machine_holds_nothing_a_living_one_does(store, monkeypatch):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as run:
        monkeypatch.setenv(lock.OWNER_VARIABLE, run.stdout.readline().strip())
        lock.take(store, "local", HOUR)
        age(store, 100 * HOUR)
        with pytest.raises(ValueError, match="in use by run local"):
            lock.take(store, "next", HOUR)
        run.kill()
    lock.take(store, "next", HOUR)
    lock.check(store, "next")


HOLD = "from components.lib.registry.lock import owner; print(owner(), flush=True); input()"
TAKE = """
import sys
from components.lib.registry import lock
from components.lib.registry.store import open_store
try:
    print("taken", lock.take(open_store(sys.argv[1]), "next", 3600))
except ValueError as error:
    print(error)
"""
UNSHARE = "needs root and unshare: no other namespace, boot or hidden process is tried"
OTHER_NAMESPACE = "unshare --pid --fork --mount-proc"
OTHER_BOOT = "mount --bind {boot} /proc/sys/kernel/random/boot_id"
HIDDEN = "mount -t proc -o hidepid=2 proc /proc"
NOBODY = "setpriv --reuid=65534 --clear-groups"
BLIND = "setpriv --regid=65534 --clear-groups --bounding-set -sys_ptrace --inh-caps -sys_ptrace"


def inside(setup, command):
    """A command line that runs with mounts of its own, made by `setup`."""
    return ["unshare", "--mount", "sh", "-c", f'{setup} && exec "$@"', "sh", *command]


def can_unshare():
    """Whether this user may make namespaces and mounts."""
    made = shutil.which("setpriv") and shutil.which("unshare")
    return bool(made) and subprocess.run(inside(HIDDEN, ["true"]), capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def apart():
    """Skips where nobody may make namespaces."""
    if not can_unshare():
        pytest.skip(UNSHARE)


def held_by(store, monkeypatch, owner):
    """The lock as a living run took it that has been silent for half an hour."""
    monkeypatch.setenv(lock.OWNER_VARIABLE, owner)
    lock.take(store, "living", HOUR)
    age(store, HOUR / 2)


def taker(store, setup="true", prefix=""):
    """What another run is told that wants the lock, where `setup` was done."""
    command = inside(setup, [*prefix.split(), sys.executable, "-c", TAKE, str(store.root)])
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.fault("a run lives in another container of the same host name, where its process cannot be seen")
def test_a_living_run_in_another_namespace_keeps_its_lock(store, monkeypatch, apart, seen):
    command = [*OTHER_NAMESPACE.split(), sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as run:
        held_by(store, monkeypatch, run.stdout.readline().strip())
        said = taker(store)
        assert "is in use by run living" in said and re.search("its last sign of life 1,8.. s ago", said)
        run.stdin.write("\n")
    seen(said)
    age(store, 2 * HOUR)
    assert "taken over from run living: no sign of life for 7,2" in taker(store)


@pytest.mark.fault("a run lives on another machine of the same host name")
def test_a_living_run_of_another_boot_keeps_its_lock(store, monkeypatch, apart, tmp_path, seen):
    (tmp_path / "boot").write_text("another-boot")
    other = OTHER_BOOT.format(boot=tmp_path / "boot")
    command = [sys.executable, "-c", "from components.lib.registry.lock import owner; print(owner())"]
    there = subprocess.run(inside(other, command), capture_output=True, text=True, check=True).stdout.strip()
    assert there.split(" ")[1] == "another-boot"
    held_by(store, monkeypatch, there)
    said = taker(store)
    assert "is in use by run living" in said
    seen(said)


@pytest.mark.fault("a run lives under another user, and /proc is mounted with hidepid")
def test_a_living_run_that_proc_hides_keeps_its_lock(store, monkeypatch, apart, seen):
    with subprocess.Popen([*NOBODY.split(), "sleep", "100"]) as run:
        while "sleep" not in (Path(f"/proc/{run.pid}/cmdline")).read_text():
            time.sleep(0.01)
        place = lock.owner().split(" ")[:3]
        held_by(store, monkeypatch, " ".join([*place, str(run.pid), lock._started(run.pid)]))
        said = taker(store, HIDDEN, BLIND)
        assert "is in use by run living" in said
        run.kill()
    seen(said)
    assert "its process is gone" in taker(store, HIDDEN, BLIND), "that no process has its number is known all the same"


@pytest.mark.parametrize("number", ["own", 2**22 + 1])
def test_of_an_owner_of_older_code_a_sign_of_life_decides_unless_it_is_seen(store, monkeypatch, number):
    host, *_, process, started = lock.owner().split(" ")
    old = f"{host} {process} {started}" if number == "own" else f"{host} {number} {started}"
    held_by(store, monkeypatch, old)
    with pytest.raises(ValueError, match="is in use by run living"):
        lock.take(store, "next", HOUR)
    age(store, 2 * HOUR)
    if number == "own":
        with pytest.raises(ValueError, match="is in use by run living"):
            lock.take(store, "next", HOUR)
    else:
        assert lock.take(store, "next", HOUR) == "living"


def test_a_run_that_lost_its_lock_is_stopped(store):
    lock.take(store, "slow", HOUR)
    lock.check(store, "slow")
    lock.release(store, "slow")
    with pytest.raises(ValueError, match="run slow has let go of the registry's lock at 20.*; run again"):
        lock.check(store, "slow")
    lock.take(store, "slow", HOUR)
    age(store, 2 * HOUR)
    lock.take(store, "next", HOUR)
    with pytest.raises(ValueError, match="run slow has lost the registry's lock to run next"):
        lock.check(store, "slow")
