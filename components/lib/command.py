"""`python -m components.<stage>`: a command line made from a stage's function and its settings class.

Paths become required flags (`Path | None` optional ones), the stage's settings come from `--recipe` with
`--set name=value` on top.
"""

import argparse
import inspect
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from components.lib.recipe import recipes
from components.lib.recipe.settings import parse
from components.lib.registry.plan import Plan

COMMON = ("training", "scale")  # settings that SFT and GRPO share; on the command line with their name before


def main(stage: str, function: Callable[..., Any], arguments: list[str] | None = None) -> int:
    """Parse the command line, call `function`, print its numbers; a `ValueError` is one line and status 2."""
    given = vars(make_parser(stage, function).parse_args(arguments))
    try:
        for name in _settings_of(function):
            given[name] = chosen_settings(stage, name, given["recipe"], given["set"])
        if "stage" in inspect.signature(function).parameters:
            given["stage"] = stage
        result = function(**{name: value for name, value in given.items() if name not in ("recipe", "set")})
    except (ValueError, RuntimeError) as error:
        print(f"components.{stage}: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    for name, number in sorted(result.items()) if isinstance(result, dict) else ():
        print(f"{name} = {number:g}" if isinstance(number, float) else f"{name} = {number}")
    return 0


def make_parser(stage: str, function: Callable[..., Any]) -> argparse.ArgumentParser:
    """The parser of a stage's function: one flag per keyword argument but its settings."""
    summary = (inspect.getdoc(function) or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m components.{stage}", description=summary)
    hints, settings = get_type_hints(function), _settings_of(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if name in (*settings, "stage") or parameter.default is not inspect.Parameter.empty:
            continue
        kind, optional = _plain(hints[name])
        flag = "--" + name.replace("_", "-")
        metavar = "FILE" if kind is Plan else kind.__name__.upper()
        read = _plan if kind is Plan else kind
        parser.add_argument(flag, dest=name, type=read, required=not optional, metavar=metavar)
    if not settings:
        return parser
    parser.add_argument("--recipe", default=recipes.TINY.name, help="where the settings come from (default: tiny)")
    valid = ", ".join(name for part in settings for name in _names(stage, part))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=f"change one of {valid}")
    return parser


def chosen_settings(stage: str, part: str, recipe: str, changes: list[str]) -> Any:
    """The `settings` of a stage, or those that stages share, of a recipe with `name=value` texts on top."""
    chosen = getattr(recipes.get(recipe), stage if part == "settings" else part)
    known = {name: text for name, _, text in (change.partition("=") for change in changes)}
    valid = [name for each in ("settings", *COMMON) for name in _names(stage, each)]
    if wrong := next((c for c in changes if "=" not in c or c.partition("=")[0] not in valid), None):
        raise ValueError(f"--set {wrong}: write NAME=VALUE with one of {', '.join(valid)}")
    for name, field in _names(stage, part).items():
        if name in known:
            chosen = replace(chosen, **{field: parse(type(chosen), field, known[name])})
    return chosen


def _settings_of(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name in ("settings", *COMMON)]


def _names(stage: str, part: str) -> dict[str, str]:
    """Name on the command line -> field: those of the stage as they are, shared ones with their name before."""
    owner = stage if part == "settings" else part
    fields = [name for found, _, name in recipes.flat_fields().values() if found == owner]
    return {name if part == "settings" else f"{part}_{name}": name for name in fields}


def _plan(path: str) -> Plan:
    """A plan from the file that `python -m components.preflight` wrote."""
    return Plan.read(Path(path).read_text())


def _plain(hint: Any) -> tuple[type, bool]:
    """The type to parse and whether `None` is allowed."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None)), True
    return hint, False
