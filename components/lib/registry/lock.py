"""The lock of a registry: one run writes it at a time.

`lock/<number>.json` with the highest number is the lock: {"run_id", "owner", "taken", "released"}. To take it is to
create the next number, which the store lets only one do. It is free when it was released, or when its run is dead:

- the run has an outcome, so it has ended and only failed to let go, or
- it ran on this machine (`pipeline.py run`) and its process is gone, or
- it ran elsewhere, and neither a step's record nor the lock shows a sign of life younger than `timeout_s`.

A run that lost its lock in this way and comes back is stopped by `check` before it can change the champion.
"""

import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from components.lib.registry.base import RACES, Store
from components.lib.registry.record import iso, read_records

PREFIX = "lock"
OWNER_VARIABLE = "GRPO_OWNER"  # set by `pipeline.py run` for its steps: host, process and its start


@dataclass(frozen=True)
class Held:
    """The newest lock of a registry."""

    number: int
    value: dict[str, Any]

    @property
    def key(self) -> str:
        """Where it lies."""
        return _key(self.number)

    @property
    def run_id(self) -> str:
        """Whose it is or was."""
        return str(self.value["run_id"])


def take(store: Store, run_id: str, timeout_s: int) -> str:
    """Take the lock for a run, once or again; returns the dead run from which it was taken over, empty if none.

    `ValueError` names the run that holds it and what to do.
    """
    held, dead = current(store), ""
    if held and not held.value["released"]:
        if held.run_id == run_id:
            return ""
        dead = why_dead(store, held, timeout_s)
        if not dead:
            raise ValueError(_in_use(store, held, timeout_s))
        print(f"the registry's lock is taken over from run {held.run_id}: {dead}", flush=True)
    owner = os.environ.get(OWNER_VARIABLE, "")
    number = held.number + 1 if held else 1
    value = {"run_id": run_id, "owner": owner, "taken": iso(time.time()), "released": None}
    if not store.create(_key(number), value):
        raise ValueError(_just_taken(store, number))
    now = current(store)
    if now is None or now.number != number:  # what was read before has been overtaken meanwhile
        store.delete(_key(number))
        raise ValueError(_just_taken(store, now.number if now else number))
    for key in store.keys(PREFIX):
        if key < _key(number):
            store.delete(key)
    return held.run_id if held and dead else ""


def release(store: Store, run_id: str) -> None:
    """Let go of the lock if this run holds it."""
    held = current(store)
    if held and held.run_id == run_id and not held.value["released"]:
        store.write_json(held.key, held.value | {"released": iso(time.time())})


def check(store: Store, run_id: str) -> None:
    """`ValueError` unless this run holds the newest lock; called before anything that a second run must not do."""
    held = current(store)
    if held and held.run_id == run_id and held.value["released"]:
        raise ValueError(f"run {run_id} has let go of the registry's lock at {held.value['released']}; run again")
    if held is None or held.run_id != run_id:
        holder = f"run {held.run_id}" if held else "nobody"
        raise ValueError(f"run {run_id} has lost the registry's lock to {holder}, which gave it up for dead; run again")


def current(store: Store) -> Held | None:
    """The newest lock, held or released; None in a new registry.

    Where all that were listed have gone before they were read, a newer one is there: it is listed again.
    """
    for _ in range(RACES):
        keys = store.keys(PREFIX)
        for key in reversed(keys):
            if (value := store.read_json(key)) is not None:
                return Held(int(Path(key).stem), value)
        if not keys:
            return None
    raise ValueError(f"the locks in {store.url(PREFIX)} vanish as often as they are read; look what deletes them")


def why_dead(store: Store, held: Held, timeout_s: int) -> str:
    """Why the holder of a lock is dead; empty while it may be alive."""
    if store.read(f"runs/{held.run_id}/outcome.json") is not None:
        return "it has ended"
    host, process, started = (held.value["owner"] or "  ").split(" ")
    if started and host == socket.gethostname():
        return "" if _started(int(process)) == started else "its process is gone"
    age_s = time.time() - last_sign(store, held.run_id)
    return f"no sign of life for {age_s:,.0f} s" if age_s > timeout_s else ""


def last_sign(store: Store, run_id: str) -> float:
    """When a run last showed that it lives, in seconds since the epoch: in a step's record, or by taking the lock."""
    held = current(store)
    seen = [record.get("seen", record["started"]) for record in read_records(store, run_id)]
    if held and held.run_id == run_id:
        seen.append(held.value["taken"])
    return max((datetime.fromisoformat(text).timestamp() for text in seen), default=0.0)


def owner() -> str:
    """The owner that this process is: `host process start`, the start in clock ticks since boot if /proc tells it."""
    return f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}"


def _started(process: int) -> str:
    """When a process began, as its kernel counts; empty if there is none, or no /proc."""
    try:
        # Fields after the name, which may hold spaces: the state first, the start as the 20th (proc_pid_stat(5)).
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _in_use(store: Store, held: Held, timeout_s: int) -> str:
    age_s = time.time() - last_sign(store, held.run_id)
    return (
        f"the registry {store.url('')} is in use by run {held.run_id} since {held.value['taken']}, its last sign of "
        f"life {age_s:,.0f} s ago; wait until it has ended (a dead run's lock is taken over after {timeout_s} s), or, "
        f"if you know that it is dead, delete {store.url(held.key)}"
    )


def _just_taken(store: Store, number: int) -> str:
    return f"another run has just taken the lock {store.url(_key(number))}; wait until it has ended"


def _key(number: int) -> str:
    return f"{PREFIX}/{number:08}.json"
