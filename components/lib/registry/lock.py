"""The lock of a registry: one run writes it at a time.

The newest value of the chain `lock/` is the lock: {"run_id", "owner", "taken", "released"}. It is free when it was
released, or when its run is dead:

- the run has an outcome, so it has ended and only failed to let go, or
- it ran on this machine (`pipeline.py run`) and its process is gone, or
- it ran on this cluster and its Workflow has ended, as where KFP's own driver died of a retry, or
- nobody here can see process or Workflow, and neither a step's record nor the lock shows a sign of life younger than
  `timeout_s`.

A run that lost its lock in this way and comes back is stopped by `check`, and cannot `crown` a champion.
"""

import os
import socket
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from components.lib import inside
from components.lib.registry import chain, champion
from components.lib.registry.base import Store
from components.lib.registry.chain import Link
from components.lib.registry.record import iso, read_records

PREFIX = "lock"
OWNER_VARIABLE = "GRPO_OWNER"  # set by `pipeline.py run` for its steps: what `owner` says of it


def take(store: Store, run_id: str, timeout_s: int) -> str:
    """Take the lock for a run, once or again; returns the dead run from which it was taken over, empty if none.

    `ValueError` names the run that holds it and what to do.
    """
    held, dead = current(store), ""
    if held and not held.value["released"]:
        if _run_of(held) == run_id:
            champion.reserve(store, run_id)  # it may have been killed before it did
            return ""
        dead = why_dead(store, held, timeout_s)
        if not dead:
            raise ValueError(_in_use(store, held, timeout_s))
        print(f"the registry's lock is taken over from run {_run_of(held)}: {dead}", flush=True)
    owner = os.environ.get(OWNER_VARIABLE, "")
    value = {"run_id": run_id, "owner": owner, "taken": iso(time.time()), "released": None}
    if not chain.add(store, PREFIX, held, value):
        now = current(store)
        raise ValueError(f"another run has just taken the lock {now.key if now else ''}; wait until it has ended")
    champion.reserve(store, run_id)
    return _run_of(held) if held and dead else ""


def release(store: Store, run_id: str) -> None:
    """Let go of the lock if this run holds it."""
    held = current(store)
    if held and _run_of(held) == run_id and not held.value["released"]:
        store.write_json(held.key, held.value | {"released": iso(time.time())})


def check(store: Store, run_id: str) -> None:
    """`ValueError` unless this run holds the newest lock; called before anything that a second run must not do."""
    held = current(store)
    if held and _run_of(held) == run_id and held.value["released"]:
        raise ValueError(f"run {run_id} has let go of the registry's lock at {held.value['released']}; run again")
    if held is None or _run_of(held) != run_id:
        holder = f"run {_run_of(held)}" if held else "nobody"
        raise ValueError(f"run {run_id} has lost the registry's lock to {holder}, which gave it up for dead; run again")


def crown(store: Store, run_id: str, entry: dict[str, Any]) -> None:
    """Make `entry` the champion if this run holds the lock until then; `ValueError` if not, and nothing has changed."""
    check(store, run_id)
    if not champion.replace(store, run_id, entry):
        check(store, run_id)
        raise ValueError(
            f"run {run_id} has lost the registry's lock for a while; the champion is not its own: run again"
        )


def current(store: Store) -> Link | None:
    """The newest lock, held or released; None in a new registry."""
    return chain.newest(store, PREFIX)


def why_dead(store: Store, held: Link, timeout_s: int) -> str:
    """Why the holder of a lock is dead; empty while it may be alive."""
    ended, how = has_ended(store, held)
    if ended is not None:
        return how if ended else ""
    age_s = time.time() - last_sign(store, _run_of(held))
    return f"no sign of life for {age_s:,.0f} s" if age_s > timeout_s else ""


def has_ended(store: Store, held: Link, phase_of: Callable[[str], str] = inside.phase_of) -> tuple[bool | None, str]:
    """Whether the holder of a lock has ended, None if nobody here can tell, and how that is known.

    `phase_of` tells the phase of a run's Workflow, empty if it cannot. A Workflow that works is a living run however
    long its steps are silent: it has a deadline of its own.
    """
    if store.read(f"runs/{_run_of(held)}/outcome.json") is not None:
        return True, "it has ended"
    gone = is_gone(held.value["owner"])
    if gone is not None:
        return gone, "its process is gone" if gone else "its process lives"
    phase = phase_of(_run_of(held))
    return (phase in inside.DONE, f"its workflow is {phase.lower()}") if phase else (None, "")


def last_sign(store: Store, run_id: str) -> float:
    """When a run last showed that it lives, in seconds since the epoch: in a step's record, or by taking the lock."""
    held = current(store)
    seen = [record.get("seen", record["started"]) for record in read_records(store, run_id)]
    if held and _run_of(held) == run_id:
        seen.append(held.value["taken"])
    return max((datetime.fromisoformat(text).timestamp() for text in seen), default=0.0)


def owner() -> str:
    """The owner that this process is: `host boot namespace process start`.

    The boot's id and the namespace of its process numbers say where that number means something, the start in clock
    ticks since boot that the number was not given away again. What /proc does not tell is empty.
    """
    return " ".join([*_place(), str(os.getpid()), _started(os.getpid()) or ""])


def is_gone(owner: str) -> bool | None:
    """Whether the process that `owner` named is gone; None if that cannot be told from here.

    Another machine may have this one's name, and a container the same host, where the process cannot be seen. Owners of
    older code, `host process start`, say too little to be called gone.
    """
    *place, process, start = (owner or "  ").split(" ")
    if not start or place[0] != socket.gethostname() or (len(place) > 1 and (place != _place() or "" in place)):
        return None
    started = _started(int(process))
    if started == start:
        return False
    if len(place) == 1 or (started is None and _exists(int(process))):
        return None
    return True


def _place() -> list[str]:
    """Host, boot and namespace of process numbers; empty texts for what cannot be found out."""
    try:
        # Where /proc is another namespace's, it has other numbers.
        own = os.readlink("/proc/self") == str(os.getpid())
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return [socket.gethostname(), boot, os.readlink("/proc/self/ns/pid") if own else ""]
    except OSError:
        return [socket.gethostname(), "", ""]


def _started(process: int) -> str | None:
    """When a process began, as its kernel counts, empty for a zombie; None if /proc does not show it."""
    try:
        # Fields after the name, which may hold spaces: the state first, the start as the 20th (proc_pid_stat(5)).
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        return None


def _exists(process: int) -> bool:
    """Whether there is such a process in this namespace; /proc may be mounted so that it hides those of others."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _in_use(store: Store, held: Link, timeout_s: int) -> str:
    age_s = time.time() - last_sign(store, _run_of(held))
    return (
        f"the registry {store.url('')} is in use by run {_run_of(held)} since {held.value['taken']}, its last sign of "
        f"life {age_s:,.0f} s ago; wait until it has ended (a dead run's lock is taken over after {timeout_s} s), or, "
        f"if you know that it is dead, `python pipeline.py unlock --registry {store.url('')} {_run_of(held)}`"
    )


def _run_of(held: Link) -> str:
    return str(held.value["run_id"])
