"""The lock of a registry: one holder, and when a dead one's lock is free."""

import subprocess
import sys
import threading
import time

import pytest

from components import lock
from components.record import iso, recorded
from components.store import open_store

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
    assert lock.is_held(store, "first") and not lock.is_held(store, "second")
    lock.release(store, "first")
    lock.take(store, "second", HOUR)
    assert lock.is_held(store, "second") and store.keys(lock.PREFIX) == ["lock/00000002.json"]


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
    assert len(won) == 1 and len(told) == 7 and lock.is_held(store, won[0])


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
    code = "from components.lock import owner; print(owner(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as run:
        monkeypatch.setenv(lock.OWNER_VARIABLE, run.stdout.readline().strip())
        lock.take(store, "local", HOUR)
        age(store, 100 * HOUR)
        with pytest.raises(ValueError, match="in use by run local"):
            lock.take(store, "next", HOUR)
        run.kill()
    lock.take(store, "next", HOUR)
    assert lock.is_held(store, "next")


def test_a_run_that_lost_its_lock_is_stopped(store):
    lock.take(store, "slow", HOUR)
    lock.check(store, "slow")
    age(store, 2 * HOUR)
    lock.take(store, "next", HOUR)
    with pytest.raises(ValueError, match="run slow has lost the registry's lock to run next"):
        lock.check(store, "slow")
