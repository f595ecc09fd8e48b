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

from components import recipes
from components.plan import Plan
from components.settings import parse


def main(stage: str, function: Callable[..., Any], arguments: list[str] | None = None) -> int:
    """Parse the command line, call `function`, print its numbers; a `ValueError` is one line and status 2."""
    given = vars(make_parser(stage, function).parse_args(arguments))
    try:
        if "settings" in inspect.signature(function).parameters:
            given["settings"] = chosen_settings(stage, given.pop("recipe"), given.pop("set"))
        result = function(**given)
    except ValueError as error:
        print(f"components.{stage}: {error}", file=sys.stderr)
        return 2
    for name, number in sorted(result.items()) if isinstance(result, dict) else ():
        print(f"{name} = {number:g}" if isinstance(number, float) else f"{name} = {number}")
    return 0


def make_parser(stage: str, function: Callable[..., Any]) -> argparse.ArgumentParser:
    """The parser of a stage's function: one flag per keyword argument but `settings`."""
    summary = (inspect.getdoc(function) or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m components.{stage}", description=summary)
    hints = get_type_hints(function)
    for name in inspect.signature(function).parameters:
        if name == "settings":
            continue
        kind, optional = _plain(hints[name])
        flag = "--" + name.replace("_", "-")
        metavar = "FILE" if kind is Plan else kind.__name__.upper()
        read = _plan if kind is Plan else kind
        parser.add_argument(flag, dest=name, type=read, required=not optional, metavar=metavar)
    if "settings" not in hints:
        return parser
    parser.add_argument("--recipe", default=recipes.TINY.name, help="where the settings come from (default: tiny)")
    valid = ", ".join(name for owner, _, name in recipes.flat_fields().values() if owner == stage)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=f"change one of {valid}")
    return parser


def chosen_settings(stage: str, recipe: str, changes: list[str]) -> Any:
    """The settings of a stage in a recipe with `name=value` texts on top."""
    settings = getattr(recipes.get(recipe), stage)
    for text in changes:
        name, equals, value = text.partition("=")
        valid = [n for owner, _, n in recipes.flat_fields().values() if owner == stage]
        if not equals or name not in valid:
            raise ValueError(f"--set {text}: write NAME=VALUE with one of {', '.join(valid)}")
        settings = replace(settings, **{name: parse(type(settings), name, value)})
    return settings


def _plan(path: str) -> Plan:
    """A plan from the file that `python -m components.preflight` wrote."""
    return Plan.read(Path(path).read_text())


def _plain(hint: Any) -> tuple[type, bool]:
    """The type to parse and whether `None` is allowed."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None)), True
    return hint, False
