"""The command line of preflight: check a recipe, and write plan.json, recipe.json and fingerprint.txt."""

import argparse
import sys
from pathlib import Path

from components.lib.recipe import recipes
from components.lib.recipe.settings import to_json
from components.preflight.preflight import check_run


def main() -> int:
    """Check a recipe with `--set name=value` on top; a `ValueError` is one line and status 2."""
    parser = argparse.ArgumentParser(prog="python -m components.preflight", description=__doc__)
    recipes.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args()
    try:
        checked = check_run(to_json(recipes.chosen(arguments.recipe, arguments.set)), {})
    except ValueError as error:
        print(f"components.preflight: {error}", file=sys.stderr)
        return 2
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "plan.json").write_text(checked.plan.text())
    (arguments.output / "recipe.json").write_text(to_json(checked.recipe))
    (arguments.output / "fingerprint.txt").write_text(checked.fingerprint)
    print(f"{checked.reason} -> {arguments.output / 'plan.json'}")
    return 0


sys.exit(main())
