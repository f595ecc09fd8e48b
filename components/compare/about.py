"""What the report says of the run itself: model, recipe, data, machine, the time and tokens of each step, the gate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.compare.load import Evaluation
from components.lib.files import read_object
from components.lib.recipe import files, recipes
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import replace
from components.lib.registry.record import StepRecord
from components.lib.reporting.wording import model_name
from components.lib.training.job import SCREENED

_ADDRESSES = {"registry": "", "checkpoints": ""}  # where things lie on this machine tells a reader nothing
_OWN = (*_ADDRESSES, "model", "sources", "evaluation")  # what the page shows by itself, or not at all


def run_of(recipe: Recipe, records: Sequence[StepRecord], data: Path, decision: Path | None) -> dict[str, Any]:
    """The run as JSON values, from the steps' records, the data directory and the gate's decision, if it has made one.

    A step that KFP's cache has spared this run has no record, so neither has the page.
    """
    made_on = [record["machine"] for record in records if record.get("machine")]
    gate = read_object(decision) if decision else None
    return {
        "gate": {"promote": gate["promote"], "reason": gate["reason"]} if gate else None,
        "model": model_name(recipe.model),
        "recipe": recipe.name,
        "base": recipe.base,
        "changed": _changed(recipe),
        "recipe_file": files.write(replace(recipe, **_ADDRESSES)),
        "data": [_source(source) for source in read_object(data / "summary.json")["sources"]],
        "commits": _different(machine.get("commit") for machine in made_on),
        "machines": _different(map(_machine, made_on)),
        "seconds": {record["step"]: record["seconds"] for record in records if "seconds" in record},
        "screened": {record["step"]: _numbers(record)[SCREENED] for record in records if SCREENED in _numbers(record)},
    }


def _numbers(record: StepRecord) -> Mapping[str, float]:
    return record.get("numbers") or {}


def tokens(evaluations: Sequence[Evaluation], curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, int]:
    """Step -> the tokens of its completions, of SFT those of the conversations that it read.

    A training whose curves do not count them, as an older one's, is left out.
    """
    trained = {stage: round(sum(row.get("tokens", 0) for row in rows)) for stage, rows in curves.items()}
    return {stage: count for stage, count in trained.items() if count} | {
        f"evaluate-{each.checkpoint}": sum(item["tokens"] for items in each.groups.values() for item in items)
        for each in evaluations
    }


def _changed(recipe: Recipe) -> dict[str, list[str]] | None:
    """Flat name -> the built-in recipe's value and this run's; None for a file that stands on none."""
    below = recipes.RECIPES.get(recipe.base or recipe.name)
    if below is None:
        return None
    found = recipes.differences(below, recipe)
    return {name: [recipes.shown(each) for each in pair] for name, pair in found.items() if name not in _OWN}


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    kept, refused = (sum(source[name].values()) for name in ("kept", "refused"))
    return {"name": model_name(source["name"]), "use": source["use"], "kept": kept, "refused": refused}


def _machine(machine: Mapping[str, Any]) -> str:
    """The GPUs, or the threads, of a step that uses a model; empty for another."""
    if machine.get("gpus"):
        return ", ".join(machine["gpus"])
    threads = machine.get("threads")
    return f"no GPU, {threads} thread{'s' * (threads != '1')}" if threads else ""


def _different(values: Any) -> list[str]:
    return list(dict.fromkeys(filter(None, values)))
