"""The command line of push: publish one model by hand."""

import os
import sys
from pathlib import Path

from components.lib.command import main, read_settings
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import to_json
from components.lib.registry import lock
from components.lib.registry.plan import Plan
from components.push.push import push
from components.push.register import register


def publish(
    *, model: Path, evaluation: Path, results: Path, preflight: Path, data: Path | None, decision: Path | None,
    run_id: str,
) -> str:  # fmt: skip
    """Publish a model directory to the registry and, if the recipe asks for it, to the Hub and the Model Registry.

    `preflight` is the directory that `python -m components.preflight` wrote.
    """
    os.environ.setdefault(lock.OWNER_VARIABLE, lock.owner())  # a push that is killed holds nothing
    recipe = read_settings(Recipe, preflight / "recipe.json")
    pushed = push(
        model=model, evaluation=evaluation, results=results, data=data, decision=decision, recipe=to_json(recipe),
        plan=read_settings(Plan, preflight / "plan.json"),
        fingerprint=(preflight / "fingerprint.txt").read_text(encoding="utf-8"),
        registry=recipe.registry, run_id=run_id, settings=recipe.push, by_hand=True,
    )  # fmt: skip
    register(recipe.registry, pushed, recipe.push.model_registry)
    return f"version {pushed['version']} -> {pushed['location']}"


if __name__ == "__main__":
    sys.exit(main("push", publish, told={"model": "directory of the trained model"}))
