"""The recipe that a command line names: `--recipe`, a name or a file, with every `--set NAME=VALUE` on top."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from components.lib.recipe import checkers
from components.lib.recipe.recipes import RECIPES, TINY, differences, file_schema, is_file, override, shown
from components.lib.recipe.schema import Recipe


def chosen(name: str, changes: Sequence[str]) -> Recipe:
    """The recipe of a name or file with every `NAME=VALUE` text of `changes` on top, and its checkers' code."""
    return checkers.with_code(_stated(name, changes))


def _stated(name: str, changes: Sequence[str]) -> Recipe:
    """The recipe as it is written, whether its checkers are there or not."""
    parsed = {}
    for text in changes:
        flat_name, equals, value_ = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text}: write --set parameter=value")
        parsed[flat_name.strip()] = value_
    return override(load(name), parsed)


def load(name: str) -> Recipe:
    """The recipe called `name`, or that of a YAML or JSON file; `ValueError` lists the names, or says what is wrong."""
    if name in RECIPES:
        return RECIPES[name]
    if not is_file(name):
        raise ValueError(f"no recipe {name!r}; valid: {', '.join(RECIPES)}, or the path of a YAML or JSON file")
    from components.lib.recipe.files import read

    return read(Path(name))


def add_arguments(parser: argparse.ArgumentParser, default: str = TINY.name) -> None:
    """The flags `--recipe` and `--set` that `chosen` takes."""
    parser.add_argument(
        "--recipe", default=default, metavar="NAME|FILE",
        help=f"one of {', '.join(RECIPES)}, or a YAML or JSON file (default: {default})",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change any field; may be repeated"
    )


def show(given: argparse.Namespace) -> int:
    """The verb `recipe`: print a recipe as a file, in what two differ, or the schema; returns the exit status."""
    if given.schema:
        print(json.dumps(file_schema(), indent=2))
    elif given.diff:
        one, other = (_stated(name, given.set) for name in given.diff)
        for name, (before, after) in differences(one, other).items():
            print(f"{name}: {shown(before)} -> {shown(after)}")
    else:
        from components.lib.recipe.files import write

        print(write(_stated(given.recipe, given.set)), end="")
    return 0
