"""A chain of JSON values of which the newest counts: `<prefix>/<number>.json`, the highest number.

A value is added by creating the next number, which the store lets only one process do: who was overtaken since it
read the newest one adds nothing. That is all that a registry needs of a store to change hands safely.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.lib.registry.base import RACES, Store


@dataclass(frozen=True)
class Link:
    """A value of a chain, with its number and its key."""

    number: int
    key: str
    value: dict[str, Any]


def newest(store: Store, prefix: str) -> Link | None:
    """The newest value of a chain; None if there is none.

    Where all that were listed have gone before they were read, a newer one is there: it is listed again.
    """
    for _ in range(RACES):
        keys = store.keys(prefix)
        for key in reversed(keys):
            if (value := store.read_json(key)) is not None:
                return Link(int(Path(key).stem), key, value)
        if not keys:
            return None
    raise ValueError(f"the files in {store.url(prefix)} vanish as often as they are read; look what deletes them")


def add(store: Store, prefix: str, after: Link | None, value: dict[str, Any]) -> bool:
    """Add a value behind `after`, the newest that its writer has read; False if that is not the newest any more.

    The older ones are deleted. A writer that was paused may find its number free again for that reason: what turns
    out not to be the newest is taken back.
    """
    number = after.number + 1 if after else 1
    own = key_of(prefix, number)
    if not store.create(own, value):
        return False
    now = newest(store, prefix)
    if now is None or now.number != number:
        store.delete(own)
        return False
    for key in store.keys(prefix):
        if key < own:
            store.delete(key)
    return True


def key_of(prefix: str, number: int) -> str:
    """Where a value lies; keys sort as their numbers."""
    return f"{prefix}/{number:08}.json"
