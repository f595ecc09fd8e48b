"""docs/recipes.md: every field of every recipe, generated from the settings classes by `make docs`."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from components.lib.recipe import recipes
from components.lib.recipe.schema import Source

_HEAD = """# Recipes

Written by `make docs` from `lib/recipe/recipes.py`; a test holds it up to date. `--set NAME=VALUE` changes any field.
Those marked ● are also parameters of the compiled pipeline: the run form of the Kubeflow UI shows them, and
`kfp run create ... NAME=VALUE` sets them. The others are fixed by `pipeline.py compile --recipe NAME --set ...`.
"""


def markdown() -> str:
    """The page as Markdown."""
    names = list(recipes.RECIPES)
    lines = [_HEAD, f"| field | what it is | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for flat_name, (_, cls, name) in recipes.flat_fields().items():
        meta = {f.name: f for f in dataclasses.fields(cls)}[name].metadata
        values = " | ".join(_shown(recipes.value(recipe, flat_name)) for recipe in recipes.RECIPES.values())
        mark = " ●" if flat_name in recipes.PARAMETERS else ""
        lines.append(f"| `{flat_name}`{mark} | {meta['help']}{_valid(meta)} | {values} |")
    lines += ["", "## A source", "", "`sources` and `evaluation` are JSON lists of objects with these fields:", ""]
    lines += ["| field | default |", "|---|---|"]
    for field in dataclasses.fields(Source):
        default = "required" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
        lines.append(f"| `{field.name}` | {default} |")
    for name, recipe in recipes.RECIPES.items():
        lines += ["", f"Sources of `{name}`:", ""]
        lines += [f"- {_source(source)}" for source in (*recipe.sources, *recipe.evaluation)]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], Source):
        return "below"
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _valid(meta: Any) -> str:
    return f" ({', '.join(meta['choices'])})" if meta["choices"] else ""


def _source(source: Source) -> str:
    place = " ".join(part for part in (source.path, source.config, source.file or source.split) if part)
    return f"`{source.label}`: {place}, read as {source.adapter}, licence {source.licence}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
