"""The command line of preflight: check a recipe, and write plan.json, recipe.json and fingerprint.txt."""

import sys
from pathlib import Path

from components.lib.command import main
from components.lib.files import write_text
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import to_json
from components.preflight.preflight import check_run


def check(*, recipe: Recipe, output: Path) -> str:
    """Check a recipe, resolve its revisions, and write plan.json, recipe.json and fingerprint.txt to a directory."""
    checked = check_run(to_json(recipe), {})
    files = {"plan.json": checked.plan.text(), "recipe.json": to_json(checked.recipe)}
    for name, text in {**files, "fingerprint.txt": checked.fingerprint}.items():
        write_text(output / name, text)
    return f"{checked.reason} -> {output / 'plan.json'}"


if __name__ == "__main__":
    sys.exit(main("preflight", check))
