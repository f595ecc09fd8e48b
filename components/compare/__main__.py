"""Recompute the report from saved evaluations: `python -m components.compare --evaluations base=DIR grpo=DIR ...`."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from components.compare.compare import compare
from components.lib.files import read_json
from components.lib.recipe import recipes
from components.lib.reporting.table import text_table


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write results.json, report.html and report.md, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m components.compare", description=main.__doc__)
    parser.add_argument(
        "--evaluations", nargs="+", required=True, metavar="CHECKPOINT=DIR", help="what evaluate wrote, oldest first"
    )
    parser.add_argument("--curves", nargs="+", default=[], metavar="STAGE=DIR", help="what training wrote")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--recipe", choices=sorted(recipes.RECIPES), default=recipes.QWEN.name)
    parser.add_argument("--examples", type=int, help="sample completions of each kind")
    asked = parser.parse_args(arguments)
    settings = recipes.get(asked.recipe).compare
    if asked.examples is not None:
        settings = replace(settings, examples=asked.examples)
    try:
        evaluations, curves = pairs(asked.evaluations), pairs(asked.curves)
        compare(evaluations=evaluations, curves=curves, out=asked.output, settings=settings)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    print(text_table(read_json(asked.output / "results.json")))
    print(f"report: {asked.output / 'report.html'}")


def pairs(texts: Sequence[str]) -> dict[str, Path]:
    """Turn `name=directory` texts into a dict; `ValueError` for one without a name, or a name twice."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(f"{text!r} is not CHECKPOINT=DIR, as in base=run/evaluate-base")
        if name in found:
            raise ValueError(f"{name!r} is given twice: {found[name]} and {path}")
        found[name] = Path(path)
    return found


if __name__ == "__main__":
    main()
