"""Typed settings: declare a field once, parse it from text, check it, and send it through KFP as JSON.

A settings class is a frozen dataclass whose fields are made by `setting()` and have no defaults: values live
in recipes.py alone. `parse` turns the text of `--set name=value` into a field's type, `check` refuses bad
values, `to_json` and `from_json` carry a whole class through a KFP string parameter (KFP turns the ints of
dict parameters into floats; a string it leaves alone).
"""

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

S = TypeVar("S")


def setting(
    help: str, *, choices: tuple[str, ...] = (), minimum: float | None = None, maximum: float | None = None
) -> Any:
    """A dataclass field with its help text and the values it accepts."""
    return dataclasses.field(metadata={"help": help, "choices": choices, "minimum": minimum, "maximum": maximum})


def parse(cls: type, name: str, text: str) -> Any:
    """Turn `text` into the type of field `name` of `cls`; `ValueError` names the field, the text and the type."""
    kind = get_type_hints(cls)[name]
    try:
        value = _parse_as(kind, text)
    except ValueError as error:
        raise ValueError(f"{name}: {text!r} is not {_describe(kind)} ({error})") from None
    check_field(cls, name, value)
    return value


def check_field(cls: type, name: str, value: Any) -> None:
    """Refuse a value outside the field's choices or range with a `ValueError` that says what is valid."""
    field = {f.name: f for f in dataclasses.fields(cls)}[name]
    for part in value if isinstance(value, tuple) else (value,):
        if dataclasses.is_dataclass(part):
            continue
        if field.metadata.get("choices") and part not in field.metadata["choices"]:
            raise ValueError(f"{name}: {part!r} is not one of {', '.join(map(repr, field.metadata['choices']))}")
        if isinstance(part, float) and not math.isfinite(part):
            raise ValueError(f"{name}: {part} is not a finite number")
        low, high = field.metadata.get("minimum"), field.metadata.get("maximum")
        if low is not None and part < low:
            raise ValueError(f"{name}: {part} is too small; it must be at least {low}")
        if high is not None and part > high:
            raise ValueError(f"{name}: {part} is too large; it must be at most {high}")


def check(settings: Any) -> None:
    """Check every field of a settings object and of the settings inside it; see `check_field`."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(part):
                check(part)
        check_field(type(settings), field.name, value)


def to_json(settings: Any) -> str:
    """All fields as one line of JSON, keys sorted, without apostrophes (kfp.local cannot compare those)."""
    return json.dumps(dataclasses.asdict(settings), sort_keys=True).replace("'", "\\u0027")


def from_json(cls: type[S], text: str, **changes: Any) -> S:
    """Build `cls` from `to_json`'s text with `changes` on top; unknown, missing or bad fields are a `ValueError`."""
    return from_dict(cls, json.loads(text) | changes)


def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
    """Build a settings class from plain values, turning lists into tuples and dicts into nested settings."""
    hints = get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; valid ones: {', '.join(sorted(known))}")
    required = {n for n, f in known.items() if f.default is dataclasses.MISSING}
    if missing := sorted(required - set(values)):
        raise ValueError(f"{cls.__name__} needs the field {missing[0]!r}")
    result = cls(**{name: _coerce(cls.__name__, name, hints[name], value) for name, value in values.items()})
    check(result)
    return result


def _coerce(owner: str, name: str, kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else from_dict(kind, value)  # type: ignore[arg-type]
    if get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        return tuple(_coerce(owner, name, get_args(kind)[0], item) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{owner}.{name}: {value!r} is not {_describe(kind)}")
    return value


def _parse_as(kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("write true or false")
        return text.lower() == "true"
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if dataclasses.is_dataclass(item):
            rows = json.loads(text)
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise ValueError("write a JSON list of objects")
            return tuple(from_dict(item, row) for row in rows)  # type: ignore[arg-type]
        return tuple(_parse_as(item, part.strip()) for part in text.split(",") if part.strip())
    return kind(text)


def _describe(kind: Any) -> str:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return (
            f"a JSON list of {item.__name__}"
            if isinstance(item, type) and dataclasses.is_dataclass(item)
            else "a comma-separated list"
        )
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, kind.__name__ if isinstance(kind, type | types.GenericAlias) else str(kind))
