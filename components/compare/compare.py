"""Compare the evaluated checkpoints of a run: results.json, report.html and report.md from saved items alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.compare import about, load, results, story
from components.compare import curves as training
from components.compare.report import html, markdown
from components.lib.answers.final import in_form
from components.lib.files import write_json, write_text
from components.lib.generation.context import cut_replies
from components.lib.recipe.schema import PROTOCOLS, Recipe
from components.lib.reporting.wording import slug
from components.lib.training.handed_on import handed_on

# What is logged for each checkpoint and protocol, under names that stay the same from week to week.
_LOGGED = ("accuracy", "truncated", "unparsed", "well_formed", "mean_tokens", "right_anywhere")


def compare(
    *, evaluations: dict[str, Path], curves: dict[str, Path], out: Path, recipe: Recipe, data: Path | None = None,
    run: Mapping[str, Any] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Compare checkpoints, in the order of `evaluations`, each with the one before it.

    Reads the directories that evaluate wrote and, for each stage of `curves`, the one that training wrote; of `data`,
    which standardize wrote, its warnings and lengths. `run` is what `about.run_of` knows of the run. Writes
    results.json, scores.json (`results.scores`), report.html and report.md to `out`. Returns numbers like
    "grpo_zero_shot_accuracy". `ValueError` if the checkpoints were not asked the same problems.
    """
    found = compute(evaluations, curves, recipe, data, run)
    write_json(out / "results.json", found)
    write_json(out / "scores.json", results.scores(load.read_evaluations(evaluations)))
    write_text(out / "report.html", html(found))
    write_text(out / "report.md", markdown(found))
    return numbers(found)


def compute(
    evaluations: Mapping[str, Path], curves: Mapping[str, Path], recipe: Recipe, data: Path | None = None,
    run: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Everything the report says, as JSON values."""
    settings, limit = recipe.compare, recipe.training.alarm_truncated
    read = load.read_evaluations(evaluations)
    rows = results.rows(read, "evaluation", settings)
    gate = results.rows(read, "gate", settings)
    overall = results.overall(read, settings)
    # One family: all the tests that the report shows of the evaluation problems.
    tests = results.adjust([*rows, *overall])
    results.adjust(gate)
    steps = load.read_curves(curves)
    drawn = {stage: training.thin(each) for stage, each in steps.items()}
    warned = [*load.differing_prompts(read), *load.read_alarms(curves), *load.read_warnings(data)]
    warned += [f"{line[0].upper()}{line[1:]}." for line in (cut_replies(data, _limits(recipe)) if data else ())]
    return {
        "checkpoints": [evaluation.checkpoint for evaluation in read],
        "confidence": settings.confidence,
        "bootstrap_samples": settings.bootstrap_samples,
        "tests": tests,
        "form": in_form("ANSWER", load.form(read)),
        "answers": load.kinds(read),
        "left_out": read[0].summary.get("left_out", []),
        "handed_on": handed_on(curves["grpo"]) if "grpo" in curves else "",
        "results": rows,
        "gate": gate,
        "overall": overall,
        "sources": [row for split in ("evaluation", "gate") for row in results.sources(read, split, settings)],
        "flips": results.flips(read, settings.examples),
        "samples": results.samples(read, settings.examples),
        "curves": drawn,
        "training_samples": load.read_training_samples(curves, settings.examples),
        "cut_off_limit": limit,
        "alarms": [*story.cut_off(rows, drawn, limit), *warned],
        "run": {**run, "tokens": about.tokens(read, steps)} if run else None,
        "measured": {e.checkpoint: {k: v for k, v in e.summary.items() if k != "results"} for e in read},
    }


def _limits(recipe: Recipe) -> dict[str, float]:
    """The limits on a completion by their settings, 0 where there is none."""
    return {
        "evaluate_max_new_tokens": recipe.evaluate.max_new_tokens,
        "grpo_max_new_tokens": recipe.grpo.max_new_tokens if "grpo" in recipe.stages else 0,
        "gate_max_mean_tokens": recipe.gate.max_mean_tokens,
    }


def numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """Flat numbers of computed results, for the record."""
    flat: dict[str, float] = {}
    for row in [*found["results"], *found["gate"], *found["sources"]]:
        prefix = _prefix(row)
        flat |= {f"{prefix}_{name}": float(row[name]) for name in (_LOGGED[:1] if "source" in row else _LOGGED)}
        flat |= {f"{prefix}_{name}".replace("@", "_at_"): value for name, value in row["sampled"].items()}
        if row["macro"] is not None:
            flat[f"{prefix}_macro_accuracy"] = row["macro"]
        if row["before"]:
            flat |= {f"{prefix}_gain": row["difference"], f"{prefix}_p_value": row["p_value"]}
    for row in found["overall"]:
        prefix = f"{row['checkpoint']}_{row['protocol'].replace('-', '_')}"
        flat |= {
            f"{prefix}_gain_over_{row['before']}": row["difference"],
            f"{prefix}_p_value_over_{row['before']}": row["p_value"],
        }
    return flat


def headline(numbers: Mapping[str, float], recipe: Recipe) -> dict[str, float]:
    """The few numbers by which Kubeflow's page compares runs: of the last stage in the first protocol, and the base.

    Their names are the same for every run and recipe.
    """
    protocol = recipe.evaluate.protocols[0].replace("-", "_")
    last, base = f"{recipe.stages[-1]}_{protocol}", f"base_{protocol}"
    found = {name: numbers[f"{last}_{name}"] for name in _LOGGED if f"{last}_{name}" in numbers}
    return found | {"base_accuracy": numbers[f"{base}_accuracy"]} if f"{base}_accuracy" in numbers else found


def _prefix(row: Mapping[str, Any]) -> str:
    """What the names of a row's numbers begin with: checkpoint, protocol, and the source of a row of one source."""
    protocol = row["protocol"].replace("-", "_")
    if row["split"] == "gate":
        protocol = "gate" if row["protocol"] == PROTOCOLS[0] else f"gate_{protocol}"
    source = f"_on_{slug(row['source'])}" if "source" in row else ""
    return f"{row['checkpoint']}_{protocol}{source}"
