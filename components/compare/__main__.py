"""The command line of compare: recompute the report from saved evaluations."""

import sys
from pathlib import Path

from components.compare.compare import compare
from components.lib.command import main
from components.lib.files import read_json
from components.lib.recipe.recipes import QWEN
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import replace
from components.lib.reporting.table import text_table


def recompute(
    *, evaluations: dict[str, Path], curves: dict[str, Path] | None, data: Path | None, output: Path,
    examples: int | None, recipe: Recipe,
) -> str:  # fmt: skip
    """Write results.json, report.html and report.md from what evaluate saved, and print the table."""
    if examples is not None:
        recipe = replace(recipe, compare=replace(recipe.compare, examples=examples))
    compare(evaluations=evaluations, curves=curves or {}, out=output, recipe=recipe, data=data)
    print(text_table(read_json(output / "results.json")))
    return f"report: {output / 'report.html'}"


if __name__ == "__main__":
    sys.exit(main("compare", recompute, recipe=QWEN.name))
