"""What came of a study, as plain JSON values: accuracies of each seed, differences, costs, and what can be said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from components.lib.recipe.recipes import RECIPES, differences, shown
from components.lib.recipe.schema import PROTOCOLS
from components.lib.registry.outcome import Outcome, gpu_hours
from components.lib.registry.plan import Plan
from components.lib.registry.record import details_of, read_records
from components.lib.registry.store import open_store
from components.lib.reporting.statistics import holm
from components.lib.study import inference
from components.lib.study.declared import BASE, OWN, Declared
from components.lib.study.runs import Run, steps_of

SEED = 0  # of the bootstrap: the same runs give the same report
SHOWN = {"grpo": ("correct", "right answers in training", True), "sft": ("loss", "loss", False)}  # of the last stage

# variant -> protocol -> seed -> problem -> share of its completions that are right
Scores = dict[str, dict[str, dict[int, dict[str, float]]]]


@dataclass(frozen=True)
class Ended:
    """A run that was measured, with what it left in its registry."""

    run: Run
    outcome: Outcome
    results: dict[str, Any]  # results.json
    scores: dict[str, dict[str, dict[str, float]]]  # scores.json: checkpoint -> protocol -> problem -> share
    records: list[Any]


def read(runs: Sequence[Run]) -> list[Ended]:
    """The runs that came to their end."""
    found = []
    for run in runs:
        if outcome := run.measured():
            store, prefix = open_store(run.recipe.registry), f"runs/{outcome.run_id}/results"
            results, scores = (store.read_json(f"{prefix}/{name}.json") or {} for name in ("results", "scores"))
            found.append(Ended(run, outcome, results, scores, read_records(store, outcome.run_id)))
    return found


def compute(study: Declared, runs: Sequence[Run]) -> dict[str, Any]:
    """Everything the report says of the runs that have ended; `ValueError` if none has."""
    ended = read(runs)
    if not ended:
        raise ValueError(f"no run of study {study.name} has ended; start it, or give the --output of those that have")
    settings = study.any_recipe.compare
    level = {"confidence": settings.confidence, "samples": settings.bootstrap_samples}
    scores = scores_of(study, ended)
    compared = [row for pair in study.compare for row in comparisons(scores, pair, level)]
    shifts = [row for pair in study.across_protocols for row in shifts_of(scores, pair, level)]
    judge([*compared, *shifts], 1 - settings.confidence)
    return {
        "name": study.name,
        "recipe": study.any_recipe.name,
        "changes": _changes(study),
        "machines": sorted({name for each in ended for name in each.results["run"]["machines"]}),
        "model": sorted({recipe.model for recipe in study.recipes.values()}),
        "confidence": settings.confidence,
        "bootstrap_samples": settings.bootstrap_samples,
        "accuracies": [row for variant in study.variants for row in accuracies(scores, variant, level)],
        "comparisons": compared,
        "shifts": shifts,
        "costs": [cost for variant in study.recipes if (cost := _cost(variant, ended))],
        "curves": [curve for variant in study.recipes if (curve := _curves(variant, ended))],
        "runs": [_run(run, ended) for run in runs],
        "warnings": _warnings(runs, ended),
    }


def judge(rows: Sequence[dict[str, Any]], alpha: float) -> None:
    """Add to all that a report compares its adjusted p-value, whether it is claimed, and what would settle it.

    One that has no p-value yet counts in the family: it may get one, and claims must not depend on that.
    """
    p_values = [1.0 if row["p_value"] is None else row["p_value"] for row in rows]
    for row, adjusted in zip(rows, holm(p_values), strict=True):
        row["p_adjusted"] = None if row["p_value"] is None else adjusted
        _judge(row, alpha, len(rows))


def _judge(row: dict[str, Any], alpha: float, comparisons: int) -> None:
    """Add whether a difference is claimed, and what would settle it: so many seeds (None: too many), or problems."""
    low, high = row["interval"]
    significant = row["p_adjusted"] is not None and row["p_adjusted"] <= alpha
    row["claimed"] = significant and not low <= 0 <= high
    row["lacks_problems"] = significant and not row["claimed"]
    open_ = not significant and len(row["differences"]) > 1
    row["seeds_needed"] = (
        inference.seeds_needed(list(row["differences"].values()), alpha / comparisons) if open_ else None
    )


def scores_of(study: Declared, ended: Sequence[Ended]) -> Scores:
    """The scores of each variant's last checkpoint; the base's are those of the first run of a seed."""
    found: Scores = {variant: {} for variant in study.variants}
    for each in ended:
        checkpoints = {each.run.variant: each.run.recipe.stages[-1], BASE: BASE}
        for variant, checkpoint in ((name, last) for name, last in checkpoints.items() if name in found):
            for protocol, problems in each.scores[checkpoint].items():
                found[variant].setdefault(protocol, {}).setdefault(each.run.seed, problems)
    return found


def accuracies(scores: Scores, variant: str, level: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each protocol of a variant: accuracy of each seed, their mean, and its interval."""
    found = []
    for protocol in _ordered(scores[variant]):
        seeds = scores[variant][protocol]
        values = _matrix(seeds, list(seeds))
        low, high = inference.interval(_distinct(values), seed=SEED, **level)
        found.append({
            "variant": variant, "protocol": protocol, "n": values.shape[1],
            "seeds": dict(zip(map(str, seeds), values.mean(axis=1).tolist(), strict=True)),
            "mean": float(values.mean()), "interval": [max(0.0, low), min(1.0, high)],
        })  # fmt: skip
    return found


def comparisons(scores: Scores, pair: tuple[str, str], level: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each protocol that both variants were asked, over the seeds that both have, not adjusted yet.

    `ValueError` if they were not asked the same problems.
    """
    before, after = (scores[name] for name in pair)
    found = []
    for protocol in _ordered(set(before) & set(after)):
        seeds = [seed for seed in after[protocol] if seed in before[protocol]]
        if not seeds:
            continue
        if any(set(before[protocol][seed]) != set(after[protocol][seed]) for seed in seeds):
            raise ValueError(
                f"{pair[0]} and {pair[1]} were not asked the same problems; let `evaluate` be one for both"
            )
        change = _matrix(after[protocol], seeds) - _matrix(before[protocol], seeds)
        names = {"before": pair[0], "after": pair[1], "protocol": protocol}
        found.append(names | _inferred(change, seeds, level))
    return found


def shifts_of(scores: Scores, pair: tuple[str, str], level: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How far the difference of two variants is another one by each further protocol than by the first.

    Per seed and problem, so over the problems that were asked by both; not adjusted yet.
    """
    before, after = (scores[name] for name in pair)
    first, *others = _ordered(set(before) & set(after))
    found = []
    for protocol in others:
        tables = [variant[name] for name in (first, protocol) for variant in (before, after)]
        seeds = [seed for seed in after[first] if all(seed in table for table in tables)]
        problems = set.intersection(*(set(table[seed]) for table in tables for seed in seeds)) if seeds else set()
        if not problems:
            continue
        kept = [{seed: {name: table[seed][name] for name in problems} for seed in seeds} for table in tables]
        old, new, other_old, other_new = (_matrix(table, seeds) for table in kept)
        names = {"before": pair[0], "after": pair[1], "protocol": protocol, "reference": first}
        found.append(names | _inferred(other_new - other_old - new + old, seeds, level))
    return found


def _inferred(change: np.ndarray, seeds: Sequence[int], level: Mapping[str, Any]) -> dict[str, Any]:
    """What can be inferred from (seeds, problems) of changes: each seed's mean, that of all, interval and p-value."""
    each = change.mean(axis=1).tolist()
    return {
        "n": change.shape[1], "differences": dict(zip(map(str, seeds), each, strict=True)), "mean": fmean(each),
        "interval": list(inference.interval(change, seed=SEED, **level)), "p_value": inference.paired_t(each),
    }  # fmt: skip


def _changes(study: Declared) -> dict[str, str]:
    """Variant, or "all" -> in what it differs from the built-in recipe of its name, or from the first variant."""
    reference = RECIPES.get(study.any_recipe.name, study.any_recipe)
    each = {
        variant: {name: shown(after) for name, (_, after) in differences(reference, recipe).items() if name not in OWN}
        for variant, recipe in study.recipes.items()
    }
    common = set.intersection(*(set(changes.items()) for changes in each.values()))
    own = {variant: sorted(set(changes.items()) - common) for variant, changes in each.items()}
    told = {name: ", ".join("=".join(item) for item in items) for name, items in {"all": sorted(common), **own}.items()}
    return {name: text for name, text in told.items() if text}


def _ordered(protocols: Any) -> list[str]:
    return [protocol for protocol in PROTOCOLS if protocol in protocols]


def _matrix(scores: Mapping[int, Mapping[str, float]], seeds: Sequence[int]) -> np.ndarray:
    """(seeds, problems), problems in the order of their ids."""
    return np.array([[scores[seed][name] for name in sorted(scores[seeds[0]])] for seed in seeds])


def _distinct(values: np.ndarray) -> np.ndarray:
    """Scores without repeats where all seeds have the same, as those of the base: they are one measurement."""
    return values[:1] if (values == values[0]).all() else values


def _cost(variant: str, ended: Sequence[Ended]) -> dict[str, Any] | None:
    """Means over seeds of what the trainings of a variant took; an SFT that others share counts for each of them.

    A training that KFP's cache has spared a run has no record there: that of the run that did it counts.
    """
    rows, made = [], _trained(ended)
    for each in (each for each in ended if each.run.variant == variant):
        keys = steps_of(each.run.recipe)
        trained = [made[keys[stage]] for stage in each.run.recipe.stages if keys[stage] in made]
        lengths = each.results["curves"].get("grpo", {}).get("completion_length", [])
        rows.append({
            "train_seconds": sum(record["seconds"] for record in trained), "gpu_hours": gpu_hours(trained),
            "rollout_tokens": sum(length for _, length in lengths) / len(lengths) * lengths[-1][0]
            * each.run.recipe.grpo.rows_per_step if lengths else 0,
        })  # fmt: skip
    return {"variant": variant} | {name: fmean(row[name] for row in rows) for name in rows[0]} if rows else None


def _trained(ended: Sequence[Ended]) -> dict[str, Any]:
    """Key of a training -> its record, with the seconds of the training alone."""
    return {
        steps_of(each.run.recipe)[record["step"]]: record | {"seconds": record["numbers"]["train_seconds"]}
        for each in ended
        for record in each.records
        if record["step"] in each.run.recipe.stages
    }


def _curves(variant: str, ended: Sequence[Ended]) -> dict[str, Any] | None:
    """The curve of a variant's last stage for each seed."""
    mine = [each for each in ended if each.run.variant == variant]
    if not mine:
        return None
    stage = mine[0].run.recipe.stages[-1]
    column, title, share = SHOWN[stage]
    seeds = {str(each.run.seed): each.results["curves"][stage].get(column, []) for each in mine}
    return {"variant": variant, "stage": stage, "title": title, "share": share, "seeds": seeds}


def _run(run: Run, ended: Sequence[Ended]) -> dict[str, Any]:
    outcome = next((each.outcome for each in ended if each.run == run), None) or run.ended()
    told = (outcome.run_id, outcome.ending, outcome.sentence) if outcome else ("", "to do", "")
    return {"variant": run.variant, "seed": run.seed, **dict(zip(("run_id", "ending", "sentence"), told, strict=True))}


def _warnings(runs: Sequence[Run], ended: Sequence[Ended]) -> list[str]:
    """What a reader must know before trusting the numbers: runs that are missing, and inputs or code that differ."""
    found = []
    missing = [run.name for run in runs if run not in [each.run for each in ended]]
    if missing:
        found.append(f"{len(missing)} of {len(runs)} runs have not come to their end: {'; '.join(missing)}.")
    commits = sorted({commit for each in ended for commit in each.results["run"]["commits"]})
    if len(commits) > 1:
        found.append(f"The runs were made by different commits: {', '.join(commits)}.")
    plans = [Plan.read(details_of(each.records, "preflight")["plan"]) for each in ended]
    if len({str([source.revision for source in (*plan.sources, *plan.evaluation)]) for plan in plans}) > 1:
        found.append("The runs read different revisions of their sources.")
    found += sorted({f"{each.run.name}: {alarm}" for each in ended for alarm in each.results["alarms"]})
    return found
