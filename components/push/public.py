"""A release is public: what it says of the run names no place on the machine where that was made."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from components.lib.model.names import from_hub
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import S, from_dict, plain
from components.lib.registry.plan import Plan

_PATH = re.compile(r"[~/]\S*/\S+")


def called(plan: Plan, recipe: Recipe) -> dict[str, str]:
    """Each path of this disk that a run was told -> its last part, longer paths first.

    What lies there is known by its hash, which the plan has.
    """
    paths = sorted(set(_paths(plan, recipe)), key=lambda path: (-len(path), path))
    return {path: last for path in paths if "/" in path and (last := path.rstrip("/").rpartition("/")[2])}


def public(value: Any, names: Mapping[str, str]) -> Any:
    """A JSON value in which those paths, and what else is an absolute path and nothing more, are their last part."""
    if isinstance(value, dict):
        return {public(key, names): public(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [public(part, names) for part in value]
    if not isinstance(value, str):
        return value
    for path, last in names.items():
        value = value.replace(path, last)
    return value.rpartition("/")[2] if _PATH.fullmatch(value) else value


def public_settings(settings: S, names: Mapping[str, str]) -> S:
    """The same of a plan or a recipe."""
    return from_dict(type(settings), public(plain(settings), names))


def _paths(plan: Plan, recipe: Recipe) -> Iterator[str]:
    inputs = [(source.path, source.revision) for source in (*plan.sources, *plan.evaluation)]
    for path, revision in ((plan.model, plan.revision), *inputs):
        if "://" not in path and not from_hub(path, revision):
            yield path
    yield from (path for path in (recipe.registry, recipe.checkpoints) if "://" not in path)
