"""Field maps: where a row has what an adapter wants, as `{gold: meta.answers.0}`.

A path has dots between names of fields and positions of lists, from 0, or -1 for the last. A field whose own name
holds dots is found by it, and what is JSON text is looked into.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.lib.data.adapters import ADAPTERS, Draft
from components.lib.data.adapters.problems import open_problem, problem
from components.lib.data.reasons import Refused
from components.lib.recipe.schema import CHECKER, Source

Reader = Callable[[dict[str, Any]], Draft]


class _Noted(dict[str, Any]):
    """A row that notes which fields it is asked for."""

    def __init__(self, row: Mapping[str, Any], asked: set[str]) -> None:
        super().__init__(row)
        self.asked = asked

    def get(self, name: str, default: Any = None) -> Any:  # type: ignore[override]
        """As a dict's."""
        self.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)


def reader(source: Source, ready: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Reader:
    """The adapter of a source, behind its field map; what it refuses a field for names the place in the row as well.

    `ready` makes of a row, with its fields as the adapter calls them, that which the adapter gets.
    """
    adapter = ADAPTERS[source.adapter]
    if adapter is problem and source.kind.startswith(CHECKER):
        adapter = open_problem

    def read(row: dict[str, Any]) -> Draft:
        try:
            return adapter(ready(mapped(row, source.fields)))
        except Refused as refused:
            place = source.fields.get(str(refused.detail.get("field", "")).partition("[")[0])
            raise Refused(refused.reason, **refused.detail | ({"place": place} if place else {})) from None

    return read


def mapped(row: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The row with the mapped fields on top; one that is not there is missing, whatever the row calls so itself."""
    return dict(row) | {name: found(row, path) for name, path in fields.items()}


def found(row: Any, path: str) -> Any:
    """The value at a path, None if the row has no such place."""
    if isinstance(row, str) and row.lstrip()[:1] in ("{", "["):
        try:
            row = json.loads(row)
        except (ValueError, RecursionError):
            return None
    if isinstance(row, Mapping):
        if path in row:
            return row[path]
        heads = [path[:at] for at, sign in enumerate(path) if sign == "." and path[:at] in row]
        return found(row[heads[-1]], path[len(heads[-1]) + 1 :]) if heads else None
    head, dot, rest = path.partition(".")
    if not isinstance(row, list) or not head.removeprefix("-").isdecimal():
        return None
    place = int(head)
    if not -len(row) <= place < len(row):
        return None
    return found(row[place], rest) if dot else row[place]


def check(source: Source, rows: Sequence[Mapping[str, Any]]) -> None:
    """ValueError that names the field if a map has one that none of `rows` has, or that the adapter never asks for."""
    for name, path in source.fields.items():
        if rows and all(found(row, path) is None for row in rows):
            raise ValueError(
                f"source {source.told}: fields: {name}: none of the first {len(rows):,} rows has {path!r}; "
                f"they have {', '.join(dict.fromkeys(key for row in rows for key in row))[:400]}"
            )
    if source.adapter not in ADAPTERS or not source.fields:
        return
    asked: set[str] = set()
    read = 0
    for row in rows:
        try:
            ADAPTERS[source.adapter](_Noted(mapped(row, source.fields), asked))
            read += 1
        except Refused:
            continue
    if read and (idle := set(source.fields) - asked):
        raise ValueError(
            f"source {source.told}: fields: {min(idle)}: the adapter {source.adapter} never asks for it; "
            f"it asks for {', '.join(sorted(asked))}"
        )
