"""`python -m components.<step>`: a command line made from a step's function.

Each keyword argument becomes a flag, required unless it may be None; what is a settings class comes from `--recipe`
(a name or a file) with `--set name=value` on top, where a name may leave out its stage.
"""

import argparse
import errno
import inspect
import os
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from components.lib import ending
from components.lib.files import dangling, read_object
from components.lib.recipe import recipes, selection
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import S, Settings, from_dict, near
from components.lib.registry.plan import Plan
from components.lib.streams import use_utf8

HELP = {
    "base": "what evaluate wrote of the base model",
    "candidate": "what evaluate wrote of the model that may be promoted",
    "checkpoint": "which model it is: base, sft, grpo or champion",
    "checkpoints": "where unfinished work lies, so that a killed step goes on; without: beside its results",
    "curves": "what training wrote",
    "curves_out": "directory for the training's curves",
    "data": "directory that standardize wrote",
    "decision": "what gate wrote",
    "decision_out": "file for the decision as JSON",
    "evaluation": "what evaluate wrote of the model",
    "evaluations": "what evaluate wrote, oldest checkpoint first",
    "examples": "sample completions of each kind",
    "max_tokens": "token budget instead of the recipe's",
    "model": "model directory, Hub id, or tiny",
    "model_out": "directory for the trained model",
    "out": "directory for what is written",
    "output": "directory for what is written",
    "plan": "plan.json that preflight wrote",
    "preflight": "directory that preflight wrote",
    "registry": "directory or s3:// address of the registry",
    "results": "directory that compare wrote",
    "revision": "branch, tag or commit of a Hub model",
    "run_id": "name of the run in the registry",
    "seed": "seed of all draws",
    "sources": "JSON list of sources, as in a recipe; without: the recipe's own",
    "state": "how the run ended, as KFP says: SUCCEEDED or FAILED",
    "version": "version of the champion in the registry",
}
# The flags of what is written; all other paths are read, READ being folders.
FOLDERS = ("checkpoints", "curves_out", "model_out", "out", "output")
FILES = ("decision_out",)
READ = ("data", "model", "preflight")


def main(
    step: str, function: Callable[..., Any], arguments: Sequence[str] | None = None, *, recipe: str = recipes.TINY.name,
    told: dict[str, str] | None = None,
) -> int:  # fmt: skip
    """Parse the command line, call `function`, print its numbers or its last word; returns the exit status.

    `recipe` is the default of `--recipe`; `told` has help texts that this step words differently. What a user can
    fix (`ValueError`, a file that is not there) is one line on stderr and status 2, another failure status 1.
    """
    if arguments is None:
        use_utf8()
    given = vars(make_parser(step, function, recipe, told or {}).parse_args(arguments))

    def work() -> int:
        try:
            result = function(**_arguments(step, function, given))
        except RuntimeError as error:
            print(f"components.{step}: {error}", file=sys.stderr)
            return 1
        if isinstance(result, str):
            print(result)
        for name, number in sorted(result.items()) if isinstance(result, dict) else ():
            print(f"{name} = {number:g}" if isinstance(number, float) else f"{name} = {number}")
        return 0

    return ending.run_command(f"components.{step}", work)


def make_parser(step: str, function: Callable[..., Any], recipe: str, told: dict[str, str]) -> argparse.ArgumentParser:
    """The parser of a step's function; see `main`."""
    summary = (inspect.getdoc(function) or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m components.{step}", description=summary)
    for name, hint in _flags(function).items():
        kind, optional = _plain(hint)
        options: dict[str, Any] = {"type": kind, "metavar": getattr(kind, "__name__", "").upper()}
        if kind is Plan:
            options = {"type": Path, "metavar": "FILE"}
        elif get_origin(kind) is dict:
            options = {"nargs": "+", "action": _Pairs, "default": {}, "metavar": "NAME=DIR"}
        elif get_origin(kind) is list:
            options = {"action": "append", "default": [], "metavar": "PATH"}
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            required=not optional,
            help=told.get(name, HELP.get(name)),
            **options,
        )
    if _parts(step, function):
        selection.add_arguments(parser, default=recipe)
    return parser


def _arguments(step: str, function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the call: the flags, the settings of the recipe, and the step's own name where it is asked."""
    for name, hint in _flags(function).items():
        _check_places(name, given[name])
        given[name] = read_settings(Plan, given[name]) if hint is Plan else given[name]
    parts = _parts(step, function)
    if parts:
        taken = set(parts.values())
        valid = [name for name, (part, _, _) in recipes.flat_fields().items() if {part, name, ""} & taken]
        changes = [_full_name(step, text, valid) for text in given.pop("set")]
        chosen = selection.chosen(given.pop("recipe"), changes)
        given |= {name: _part_of(chosen, part) for name, part in parts.items()}
    return given | ({"stage": step} if "stage" in inspect.signature(function).parameters else {})


def _full_name(step: str, text: str, valid: list[str]) -> str:
    """`text`, NAME=VALUE, with the flat name of its field."""
    name, equals, value = text.partition("=")
    found = next((flat for flat in (name.strip(), f"{step}_{name.strip()}") if flat in valid), None)
    if not equals or not found:
        short = [flat.removeprefix(f"{step}_") for flat in valid]
        raise ValueError(f"--set {text}: write NAME=VALUE with one of {near(name, short)}")
    return f"{found}={value}"


def _flags(function: Callable[..., Any]) -> dict[str, Any]:
    """Name -> type of the keyword arguments that become flags."""
    hints = get_type_hints(function)
    return {
        name: hints[name]
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in ("stage", "settings")
        and (hints[name] is Plan or not _is_settings(hints[name]))
    }  # fmt: skip


def _parts(step: str, function: Callable[..., Any]) -> dict[str, str]:
    """Argument -> the part of the recipe that it takes: a stage, the flat name of a stage's field, or "" for all."""
    hints, fields = get_type_hints(function), [name for name, (part, _, _) in recipes.flat_fields().items() if part]
    by_class = {field.annotation: name for name, field in Recipe.model_fields.items()} | {Recipe: ""}
    return {
        name: step if name == "settings" else name if name in fields else by_class[hints[name]]
        for name in inspect.signature(function).parameters
        if name == "settings" or name in fields or (_is_settings(hints.get(name)) and hints[name] is not Plan)
    }


def _part_of(recipe: Recipe, part: str) -> Any:
    """What `_parts` names."""
    if part in recipes.flat_fields():
        return recipes.value(recipe, part)
    return getattr(recipe, part) if part else recipe


def _is_settings(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Settings)


def read_settings(cls: type[S], path: Path) -> S:
    """Settings from a file that `python -m components.preflight` wrote, as plan.json; `ValueError` names the file."""
    values = read_object(path)
    try:
        return from_dict(cls, values)
    except ValueError as error:
        raise ValueError(f"{path} holds no {cls.__name__.lower()} of preflight: {error}") from None


def _check_places(name: str, value: Any) -> None:
    """Refuse a path that is to be read and is not there, or cannot be written: before anything is computed."""
    flag, paths = f"--{name.replace('_', '-')}", value.values() if isinstance(value, dict) else (value,)
    for path in (path for path in paths if isinstance(path, Path)):
        if dangling(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        there = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
        if name not in (*FOLDERS, *FILES):
            path.stat()  # raises what keeps it from being there
        if name in FILES and path.is_dir():
            raise ValueError(f"{flag} {path} is a directory; name a file")
        if not there.is_dir() and (name in (*FOLDERS, *READ) or there != path):
            what = "" if there == path else f": {there}"
            raise ValueError(f"{flag} {path}{what} is no directory; name one")


def _plain(hint: Any) -> tuple[Any, bool]:
    """The type to parse and whether the flag may be left out."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None)), True
    return hint, False


class _Pairs(argparse.Action):
    """Collects NAME=DIR texts into a dict."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: str | None = None) -> None:
        found: dict[str, Path] = {}
        for text in values:
            name, equals, path = text.partition("=")
            if not (name and equals and path):
                parser.error(f"{flag}: {text!r} is not NAME=DIR, as in base=run/evaluate-base")
            if name in found:
                parser.error(f"{flag}: {name!r} is given twice: {found[name]} and {path}")
            found[name] = Path(path)
        setattr(namespace, self.dest, found)
