"""The command line of sample: let the base model of a plan solve its training problems."""

import argparse
import sys
from pathlib import Path

from components.lib.recipe import recipes
from components.lib.registry.plan import Plan
from components.sample.sample import sample


def main() -> int:
    """Sample with a recipe's settings, `--set sample_problems=N` on top; a `ValueError` is one line and status 2."""
    parser = argparse.ArgumentParser(prog="python -m components.sample", description=__doc__)
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="plan.json of components.preflight")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where samples.jsonl goes")
    recipes.add_arguments(parser)
    given = parser.parse_args()
    try:
        recipe = recipes.chosen(given.recipe, given.set)
        if not recipe.sample.problems:
            raise ValueError("sample_problems is 0; say how many problems to ask with --set sample_problems=N")
        plan = Plan.read(given.plan.read_text())
        numbers = sample(plan=plan, split=recipe.standardize, settings=recipe.sample, out=given.out)
    except (ValueError, FileNotFoundError) as error:
        print(f"components.sample: {error}", file=sys.stderr)
        return 2
    print(", ".join(f"{name} {number:,.0f}" for name, number in numbers.items()), f"-> {given.out / 'samples.jsonl'}")
    return 0


sys.exit(main())
