"""docs/recipes.md: every field of every recipe, generated from the settings classes by `make docs`."""

import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from components.lib.recipe import recipes
from components.lib.recipe.schema import Source
from components.lib.recipe.settings import bounds, choices

_HEAD = """# Recipes

Written by `make docs` from `components/lib/recipe/recipes.py`; a test holds it up to date. `--set NAME=VALUE` changes
any field, and so does a file: `python pipeline.py recipe tiny` prints one to edit.
Those marked ● are also parameters of the compiled pipeline: the run form of the Kubeflow UI shows them, and
`kfp run create ... NAME=VALUE` sets them. The others are fixed by `pipeline.py compile --recipe NAME --set ...`.
"""


def markdown() -> str:
    """The page as Markdown."""
    names = list(recipes.RECIPES)
    lines = [_HEAD, f"| field | what it is | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for flat_name, (_, cls, name) in recipes.flat_fields().items():
        field = cls.model_fields[name]
        values = " | ".join(_shown(recipes.value(recipe, flat_name)) for recipe in recipes.RECIPES.values())
        mark = " ●" if flat_name in recipes.PARAMETERS else ""
        lines.append(f"| `{flat_name}`{mark} | {field.description}{_valid(field)} | {values} |")
    lines += ["", "## A source", "", "`sources` and `evaluation` are lists of sources with these fields:", ""]
    lines += ["| field | what it is | default |", "|---|---|---|"]
    for name, field in Source.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default!r}`"
        lines.append(f"| `{name}` | {field.description}{_valid(field)} | {default} |")
    for name, recipe in recipes.RECIPES.items():
        lines += ["", f"Sources of `{name}`:", ""]
        lines += [f"- {_source(source)}" for source in (*recipe.sources, *recipe.evaluation)]
    lines += ["", "`evaluation` may also name what is ready-made, as `--set evaluation=gsm8k,math-500`:", ""]
    lines += [f"- `{name}`: {_where(source)}" for name, source in recipes.EVALUATIONS.items()]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], Source):
        return "below"
    return f"{value:g}" if isinstance(value, float) else recipes.shown(value).replace(",", ", ")


def _valid(field: FieldInfo) -> str:
    words = "; ".join(part for part in (", ".join(choices(field)), bounds(field)) if part)
    return f" ({words})" if words else ""


def _source(source: Source) -> str:
    return f"`{source.label}`: {_where(source)}"


def _where(source: Source) -> str:
    place = " ".join(part for part in (source.path, source.config, source.file or source.split) if part)
    return f"{place}, read as {source.adapter}, licence {source.licence}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
