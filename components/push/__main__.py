"""The command line of push; `--preflight` is what `python -m components.preflight` wrote."""

import argparse
import os
import sys
from pathlib import Path

from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import from_json
from components.lib.registry import lock
from components.lib.registry.plan import Plan
from components.push.push import push


def main() -> int:
    """Publish one model directory; a `ValueError` is one line and status 2."""
    parser = argparse.ArgumentParser(prog="python -m components.push", description=__doc__)
    for flag in ("--model", "--evaluation", "--results", "--preflight"):
        parser.add_argument(flag, type=Path, required=True, metavar="DIR")
    for flag in ("--data", "--decision"):
        parser.add_argument(flag, type=Path, metavar="PATH", help="what standardize or gate wrote, if it is there")
    parser.add_argument("--run-id", required=True)
    arguments = parser.parse_args()
    recipe = (arguments.preflight / "recipe.json").read_text()
    os.environ.setdefault(lock.OWNER_VARIABLE, lock.owner())  # a push that is killed holds nothing
    try:
        settings = from_json(Recipe, recipe)
        pushed = push(
            model=arguments.model, evaluation=arguments.evaluation, results=arguments.results, data=arguments.data,
            decision=arguments.decision, plan=Plan.read((arguments.preflight / "plan.json").read_text()),
            recipe=recipe, fingerprint=(arguments.preflight / "fingerprint.txt").read_text(),
            registry=settings.registry, run_id=arguments.run_id, settings=settings.push, by_hand=True,
        )  # fmt: skip
    except ValueError as error:
        print(f"components.push: {error}", file=sys.stderr)
        return 2
    print(f"version {pushed['version']} -> {pushed['location']}")
    return 0


sys.exit(main())
