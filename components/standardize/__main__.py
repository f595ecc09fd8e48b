"""`python -m components.standardize --sources sources.json --evaluation test.jsonl --output DIR`."""

import argparse
import json
import sys
from pathlib import Path

from components.lib.recipe import recipes
from components.lib.recipe.schema import Source
from components.lib.recipe.settings import from_dict
from components.lib.registry.plan import Plan
from components.standardize.standardize import standardize


def main() -> None:
    """Standardise sources by hand, with the settings of a recipe."""
    arguments = _parser().parse_args()
    try:
        recipe = recipes.get(arguments.recipe)
        changes = {} if arguments.max_tokens is None else {"standardize_max_tokens": str(arguments.max_tokens)}
        plan = Plan(
            model=arguments.model,
            revision=arguments.revision,
            sources=read_sources(arguments.sources),
            evaluation=tuple(Source(path=path, adapter="gsm8k") for path in arguments.evaluation),
            seed=recipe.seed if arguments.seed is None else arguments.seed,
        )
        settings = recipes.override(recipe, changes).standardize
        numbers = standardize(plan=plan, settings=settings, out=arguments.output)
    except ValueError as error:
        sys.exit(f"standardize: {error}")
    print(", ".join(f"{name} {number:,.0f}" for name, number in numbers.items()))
    print(f"{arguments.output / 'summary.html'} shows what happened to every row")


def read_sources(path: Path) -> tuple[Source, ...]:
    """The list of sources in a JSON file, each as in a recipe; `ValueError` names a bad one and its place."""
    if not path.is_file():
        raise ValueError(f"--sources: there is no file {path}")
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"--sources: {path} is not JSON: {error}") from None
    if not isinstance(rows, list):
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m components.standardize", description=main.__doc__)
    parser.add_argument("--sources", type=Path, required=True, help="JSON list of sources, as in a recipe")
    parser.add_argument(
        "--evaluation",
        action="append",
        required=True,
        help="evaluation problems, as GSM8K's test.jsonl; may be repeated",
    )
    parser.add_argument("--output", type=Path, required=True, help="directory for the files and the summary")
    parser.add_argument("--recipe", default=recipes.QWEN.name, help="whose settings are used (%(default)s)")
    parser.add_argument(
        "--model", default="", help="model whose tokenizer counts tokens; without: an estimate by bytes"
    )
    parser.add_argument("--revision", default="main", help="revision of --model (%(default)s)")
    parser.add_argument("--max-tokens", type=int, help="token budget instead of the recipe's")
    parser.add_argument("--seed", type=int, help="seed instead of the recipe's")
    return parser


if __name__ == "__main__":
    main()
