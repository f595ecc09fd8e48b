"""The command line of standardize: sources by hand, with the settings of a recipe, or all of a recipe's file.

`python -m components.standardize inspect PATH` shows one source instead: see inspect.py.
"""

import json
import sys
from pathlib import Path

from components.lib.command import main
from components.lib.recipe import recipes
from components.lib.recipe.checkers import with_code
from components.lib.recipe.release import check_release
from components.lib.recipe.schema import Recipe, Source
from components.lib.recipe.settings import from_dict, replace
from components.lib.registry.plan import Plan
from components.standardize import inspect
from components.standardize.standardize import standardize


def by_hand(
    *, sources: Path | None, evaluation: list[str] | None, output: Path, model: str | None, revision: str | None,
    max_tokens: int | None, seed: int | None, recipe: Recipe,
) -> str:  # fmt: skip
    """Turn sources into the files that every later step uses, and say what happened to every row."""
    if (sources is None) != (not evaluation):
        raise ValueError("give --sources and --evaluation together, or neither to take both from --recipe")
    if sources:
        by_path = tuple(Source(path=path) for path in evaluation or ())
        recipe = with_code(replace(recipe, sources=read_sources(sources), evaluation=by_path))
        check_release(recipe)
    plan = Plan(
        model=model or "",
        revision=revision or "main",
        sources=recipe.sources,
        evaluation=recipe.evaluation,
        seed=recipe.seed if seed is None else seed,
        data_seed=recipe.data_seed if seed is None else seed,
        form=recipe.form,
        system_prompt=recipe.system_prompt,
        checkers=recipe.checkers,
    )
    settings = recipe.standardize if max_tokens is None else replace(recipe.standardize, max_tokens=max_tokens)
    numbers = standardize(plan=plan, settings=settings, out=output)
    print(", ".join(f"{name} {number:,.0f}" for name, number in numbers.items()))
    return f"{output / 'summary.html'} shows what happened to every row"


def read_sources(path: Path) -> tuple[Source, ...]:
    """The list of sources in a JSON file, each as in a recipe; `ValueError` names a bad one and its place."""
    if not path.is_file():
        raise ValueError(f"--sources: there is no file {path}")
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"--sources: {path} is not JSON: {error}") from None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"--sources: {path} is not a JSON list of sources")
    sources = []
    for number, row in enumerate(rows):
        try:
            if not isinstance(row, dict):
                raise ValueError("it is not an object")
            sources.append(from_dict(Source, row))
        except ValueError as error:
            raise ValueError(f"--sources: {path}: source {number}: {error}") from None
    return tuple(sources)


if __name__ == "__main__":
    if sys.argv[1:2] == ["inspect"]:
        sys.exit(inspect.command(sys.argv[2:]))
    told = {
        "evaluation": "evaluation problems, such as GSM8K's test.jsonl; may be repeated; without: the recipe's own",
        "model": "model whose tokenizer counts tokens; without: an estimate by bytes",
        "revision": "revision of --model (default: main)",
        "seed": "seed instead of the recipe's",
    }
    sys.exit(main("standardize", by_hand, recipe=recipes.QWEN.name, told=told))
