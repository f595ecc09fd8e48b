"""Typed settings: a field is declared once, read from text, checked, and sent through KFP as JSON.

A settings class is a frozen pydantic model whose fields have help texts and ranges but no defaults: values live in
recipes.py alone. `parse` turns the text of `--set name=value` into a field's type, `replace` makes a changed copy,
`to_json` and `from_json` carry a whole class through a KFP string parameter (KFP turns the ints of dict parameters
into floats; a string it leaves alone). Every error that a user can cause is a `ValueError` of one line.
"""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

S = TypeVar("S", bound="Settings")
Loc = tuple[int | str, ...]
MISSING = "this field is missing"
FEW = 30  # names that a line can list

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_BOUNDS = {Ge: ("at least", "ge"), Gt: ("above", "gt"), Le: ("at most", "le")}


class Settings(BaseModel):
    """The base of all settings classes: frozen, no unknown fields, no conversions but of whole numbers to floats."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def replace(settings: S, **changes: Any) -> S:
    """A copy with some fields changed, checked; `ValueError` names a bad one."""
    try:
        return type(settings)(**(dict(settings) | changes))
    except ValidationError as error:
        raise ValueError(one_line(type(settings), error)) from None


def to_json(settings: Settings) -> str:
    """All fields as one line of JSON, keys sorted, without apostrophes (kfp.local cannot compare those)."""
    return json.dumps(plain(settings), sort_keys=True).replace("'", "\\u0027")


def plain(settings: Settings) -> dict[str, Any]:
    """All fields as plain values, tuples as lists."""
    return settings.model_dump(mode="json")


def from_json(cls: type[S], text: str, **changes: Any) -> S:
    """Build `cls` from `to_json`'s text with `changes` on top; unknown, missing or bad fields are a `ValueError`."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a {cls.__name__} is no JSON ({error}): {text[:80]!r}") from None
    if not isinstance(values, dict):
        raise ValueError(f"a {cls.__name__} is a JSON object, not {text[:80]!r}")
    return from_dict(cls, values | changes)


def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
    """Build a settings class from plain values and settings, lists in place of tuples."""
    try:
        return validated(cls, values)
    except ValidationError as error:
        raise ValueError(one_line(cls, error)) from None


def validated(cls: type[S], values: Mapping[str, Any]) -> S:
    """As `from_dict`, with pydantic's own error."""
    return cls.model_validate_json(json.dumps(_whole(values), default=str))


def _whole(value: Any) -> Any:
    """The value with whole numbers that KFP made floats, or that somebody wrote as 1e3, as ints; settings as dicts."""
    if isinstance(value, Settings):
        return plain(value)
    if isinstance(value, Mapping):
        return {name: _whole(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parse(cls: type[Settings], name: str, text: str) -> Any:
    """Turn `text` into the type of field `name` of `cls`, unchecked; `ValueError` names the text and the type."""
    kind = cls.model_fields[name].annotation
    try:
        return _parse_as(kind, text)
    except ValueError as error:
        raise ValueError(f"{name}: {text!r} is not {describe(kind)} ({error})") from None


def problems(cls: type[Settings], error: ValidationError) -> Iterator[tuple[Loc, str]]:
    """Each thing that is wrong, as (where, what), in plain words."""
    for one in error.errors(include_url=False):
        yield one["loc"], _told(cls, one)


def one_line(cls: type[Settings], error: ValidationError) -> str:
    """The first thing that is wrong, and how many more there are."""
    found = list(problems(cls, error))
    loc, what = next((one for one in found if one[1] != MISSING), found[0])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{'.'.join(map(str, loc)) or cls.__name__}: {what}{more}"


def near(name: str, valid: list[str]) -> str:
    """The valid names that look like `name`; if none does, all of a few, the nearest three of many; for an error."""
    found = get_close_matches(name, valid, n=3) or (valid if len(valid) <= FEW else [])
    return ", ".join(found or get_close_matches(name, valid, n=3, cutoff=0.0))


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values that a field, or each item of its list, must be one of; empty if it takes any."""
    kind = field.annotation
    item = get_args(kind)[0] if get_origin(kind) is tuple else kind
    return tuple(choice for choice in get_args(item) if choice) if get_origin(item) is Literal else ()


def bounds(field: FieldInfo) -> str:
    """The range of a field in words, as "at least 0, at most 1"; empty if it has none."""
    named = [(_BOUNDS[type(mark)], mark) for mark in field.metadata if type(mark) in _BOUNDS]
    return ", ".join(f"{words} {getattr(mark, name):g}" for (words, name), mark in named)


def describe(kind: Any) -> str:
    """A field's type in words."""
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return f"a list of {item.__name__.lower()}s" if _is_settings(item) else "a comma-separated list"
    if get_origin(kind) is dict:
        return "a mapping of texts"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, get_args(kind)))
    return _KINDS.get(kind, "a mapping of fields" if _is_settings(kind) else str(kind))


def inner(cls: type[Settings], loc: Loc) -> Any:
    """The type at a place inside `cls`: a settings class, or the type of a field or of a list's item."""
    kind: Any = cls
    for part in loc:
        if isinstance(part, int):
            kind = get_args(kind)[0]
        elif _is_settings(kind) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
    return kind


def _told(cls: type[Settings], one: Any) -> str:
    """What pydantic found, in this project's words."""
    value, context, kind = one["input"], one.get("ctx", {}), one["type"]
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else repr(value)
    if kind == "missing":
        return MISSING
    if kind == "extra_forbidden":
        owner = inner(cls, one["loc"][:-1])
        return f"there is no such field; valid: {near(str(one['loc'][-1]), list(owner.model_fields))}"
    for name, words in (("ge", "too small; it must be at least"), ("gt", "too small; it must be above"),
                        ("le", "too large; it must be at most")):  # fmt: skip
        if name in context:
            return f"{shown} is {words} {context[name]:g}"
    if kind == "finite_number":
        return f"{shown} is not a finite number"
    return f"{shown} is not {describe(inner(cls, one['loc']))}"


def _parse_as(kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("write true or false")
        return text.lower() == "true"
    if get_origin(kind) is dict:
        if not isinstance(row := json.loads(text), dict):
            raise ValueError("write a JSON object")
        return row
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if not _is_settings(item):
            return tuple(_parse_as(item, part.strip()) for part in text.split(",") if part.strip())
        rows = json.loads(text)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("write a JSON list of objects")
        return tuple(from_dict(item, row) for row in rows)
    return kind(text) if kind in (int, float) else text


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and not isinstance(kind, UnionType) and issubclass(kind, Settings)
