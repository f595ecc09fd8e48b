"""The champion: the model that was promoted last.

It is the newest value of the chain `champion/`: {"run_id": who holds the registry's lock, "champion": {...} or null}.
The champion has "version", "run_id", "fingerprint", "location", "url", "data", "items", "promoted_at", and in `former`
those before it. Who takes the lock adds the champion under its own name, so that nobody who held the lock before can
add the next one: that number is taken. Registries of older code have champion.json in the chain's place.
"""

from typing import Any

from components.lib.registry import chain
from components.lib.registry.base import RACES, Store

PREFIX = "champion"
OLD = "champion.json"


def read_champion(store: Store) -> dict[str, Any]:
    """The champion, empty if there is none yet."""
    held = chain.newest(store, PREFIX)
    return (held.value["champion"] if held else store.read_json(OLD)) or {}


def reserve(store: Store, run_id: str) -> None:
    """Let no other run than this one, which has just taken the lock, make the next champion."""
    for _ in range(RACES):
        held = chain.newest(store, PREFIX)
        if held and held.value["run_id"] == run_id:
            return
        champion = held.value["champion"] if held else store.read_json(OLD)
        if chain.add(store, PREFIX, held, {"run_id": run_id, "champion": champion}):
            store.delete(OLD)
            return
    raise ValueError(f"{store.url(PREFIX)} changes as often as it is read; look who writes there without the lock")


def replace(store: Store, run_id: str, champion: dict[str, Any]) -> bool:
    """Make a champion for the run that has reserved it; False if another run has done so since, or before."""
    held = chain.newest(store, PREFIX)
    if held and held.value["run_id"] != run_id:
        return False
    return chain.add(store, PREFIX, held, {"run_id": run_id, "champion": champion})
