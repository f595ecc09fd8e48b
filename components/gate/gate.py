"""The decision whether a trained model may take the champion's place.

The candidate must beat the base model and the champion, problem by problem, on a split that nothing else has
looked at, and must not have bought its score with cut-off, long-winded or badly formed completions, nor lost what
the base does with examples in the prompt, or on the problems of one source. All problems together decide.

The champion's answers are kept with it. The step that evaluates the candidate has measured it anew if those are to
other problems, prompts or sampling (components/evaluate/champion.py); all are judged by today's parser.
"""

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from components.lib.answers.judging import (
    DECIDING,
    MEASURED,
    Item,
    Items,
    champion_mismatch,
    mismatch,
    read_items,
    rejudged,
)
from components.lib.files import read_jsonl, read_object, write_text
from components.lib.recipe.schema import Gate
from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.store import open_store
from components.lib.reporting import measures
from components.lib.reporting.statistics import mcnemar_greater
from components.lib.reporting.wording import slug
from components.lib.training.handed_on import handed_on


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the gate decided: the verdict, one sentence why, and the numbers behind it."""

    promote: bool
    reason: str
    numbers: dict[str, Any]

    def to_json(self) -> str:
        """The decision as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def scalars(self) -> dict[str, float]:
        """The numbers that can be logged as metrics; truths become 1.0 and 0.0."""
        return {name: float(value) for name, value in self.numbers.items() if isinstance(value, int | float)}


def run_gate(
    *, base: Path, candidate: Path, curves: Path | None, registry: str, settings: Gate, decision_out: Path
) -> Decision:
    """Decide about a candidate against base and the registry's champion, and write the decision as JSON.

    `base` and `candidate` are directories that `evaluate` wrote, the latter with the champion's new answers in
    `champion/` if it was measured anew; otherwise those count that the registry keeps with it. `curves` are those of
    GRPO, if the candidate comes from it; the reason then ends in which of its weights that are.
    """
    name = next(iter(read_items(candidate).values()))["checkpoint"]
    store = open_store(registry)
    champion = read_champion(store)
    with tempfile.TemporaryDirectory() as directory:
        items = champion_items(store, champion, candidate, Path(directory)) if champion else None
        decision = decide(evaluations={"base": base, name: candidate}, champion=items, settings=settings)
    if curves and (told := handed_on(curves)):
        decision = dataclasses.replace(decision, reason=f"{decision.reason} {told}")
    decision.numbers["champion"] = champion["version"] if champion else ""
    write_text(decision_out, decision.to_json() + "\n")
    print(decision.reason)
    return decision


def champion_items(store: Store, champion: dict[str, Any], candidate: Path, directory: Path) -> Path:
    """The champion's answers to the gate problems: measured with the candidate, else fetched into `directory`."""
    measured = candidate / MEASURED
    if measured.is_dir() and read_object(measured / "champion.json")["version"] == champion["version"]:
        return measured
    path = directory / "champion.jsonl"
    store.get_file(champion["items"], path)
    return path


def decide(*, evaluations: dict[str, Path], champion: Path | None, settings: Gate) -> Decision:
    """Whether the last of `evaluations` may be promoted.

    `evaluations` maps base, [sft], [grpo] in this order to the directories that `evaluate` wrote (items.jsonl);
    `champion` is the items.jsonl of the last promoted model, or None if there is none yet. Only rows of the gate
    split, sample 0, count: zero-shot ones decide, those of the few-shot protocols must not fall far behind the base.
    `ValueError` if there are none, or if the models did not answer the same problems under the same conditions.
    """
    names = list(evaluations)
    if len(names) < 2 or names[0] != "base":
        raise ValueError(f"the gate got evaluations of {names}; it needs base first and the candidate last")
    base, candidate = (read_items(evaluations[name]) for name in (names[0], names[-1]))
    if why := mismatch(candidate, base, ("gold", "sampling")):
        raise ValueError(f"{names[-1]} and base cannot be paired on the gate split: {why}; evaluate both anew")
    numbers: dict[str, Any] = {"candidate": names[-1], "forced": False} | _guarded(candidate)
    numbers |= {"margin": settings.margin, "alpha": settings.alpha}
    failures = _beats(candidate, base, "base", settings, numbers)
    if champion is not None:
        if why := champion_mismatch(evaluations[names[-1]], champion):
            advice = f"evaluate {names[-1]} anew, then run `python -m components.evaluate.champion`"
            raise ValueError(f"{names[-1]} and the champion cannot be paired: {why}; {advice}")
        failures += _beats(candidate, rejudged(read_items(champion)), "champion", settings, numbers)
    failures += _guard_failures(numbers, settings)
    failures += _few_shot_failures(evaluations["base"], evaluations[names[-1]], settings, numbers)
    sources = _by_source(candidate, base)
    failures += _source_failures(sources, settings, numbers)
    return _verdict(failures, sources, numbers, settings)


def _guarded(candidate: Items) -> dict[str, Any]:
    rows = candidate.values()
    return {
        "n": len(candidate),
        "accuracy": sum(row["correct"] for row in rows) / len(candidate),
        "truncated": sum(row["finish_reason"] == "length" for row in rows) / len(candidate),
        "well_formed": sum(row["think_ok"] and row["answer_marked"] for row in rows) / len(candidate),
        "mean_tokens": sum(row["tokens"] for row in rows) / len(candidate),
    }


def _beats(candidate: Items, rival: Items, name: str, settings: Gate, numbers: dict[str, Any]) -> list[str]:
    """Compare with one rival, add the numbers under its name, and return what is missing, as sentences' parts."""
    won = sum(row["correct"] and not rival[key]["correct"] for key, row in candidate.items())
    lost = sum(not row["correct"] and rival[key]["correct"] for key, row in candidate.items())
    difference, p_value = (won - lost) / len(candidate), mcnemar_greater(won, lost)
    accuracy = sum(row["correct"] for row in rival.values()) / len(rival)
    found = {"accuracy": accuracy, "difference": difference, "p_value": p_value, "won": won, "lost": lost}
    numbers |= {f"{name}_{key}": value for key, value in found.items()}
    failures = []
    told = _gain(difference, name)
    if difference < settings.margin:
        least = f", where at least {100 * settings.margin:.1f} points must be gained" if settings.margin else ""
        failures.append(told + least)
    elif p_value > settings.alpha:
        chance = f", which may be chance (p = {p_value:.3g}, more than {settings.alpha:g})" if difference else ""
        failures.append(told + chance)
    return failures


def _gain(difference: float, name: str) -> str:
    """What a candidate gains on a rival, or loses, in words."""
    if not difference:
        return f"it answers as many problems right as the {name}"
    size = f"{100 * abs(difference):.1f} points"
    return f"it gains {size} on the {name}" if difference > 0 else f"it loses {size} to the {name}"


def _guard_failures(numbers: dict[str, Any], settings: Gate) -> list[str]:
    failures = []
    if numbers["truncated"] > settings.max_truncated:
        failures.append(
            f"{numbers['truncated']:.1%} of its completions were cut off (at most {settings.max_truncated:.1%})"
        )
    if numbers["well_formed"] < settings.min_well_formed:
        share = f"{numbers['well_formed']:.1%} of its completions"
        failures.append(f"only {share} are well formed (at least {settings.min_well_formed:.1%})")
    if settings.max_mean_tokens and numbers["mean_tokens"] > settings.max_mean_tokens:
        mean = f"{numbers['mean_tokens']:.1f} tokens on average"
        failures.append(f"its completions have {mean} (at most {settings.max_mean_tokens:g})")
    return failures


def _few_shot_failures(base: Path, candidate: Path, settings: Gate, numbers: dict[str, Any]) -> list[str]:
    """Compare with the base under every few-shot protocol in which the gate problems were asked."""
    failures = []
    for protocol in sorted(
        {row["protocol"] for row in read_jsonl(candidate / "items.jsonl") if row["split"] == "gate"}
    ):
        if protocol == DECIDING:
            continue
        ours, rival = (list(read_items(path, protocol).values()) for path in (candidate, base))
        shares = [sum(row["correct"] for row in rows) / len(rows) for rows in (ours, rival)]
        name = protocol.replace("-", "_")
        numbers |= {f"{name}_accuracy": shares[0], f"base_{name}_accuracy": shares[1]}
        if shares[1] - shares[0] > settings.max_few_shot_loss:
            failures.append(
                f"{protocol} it has {shares[0]:.1%} where the base has {shares[1]:.1%} "
                f"(a loss of at most {settings.max_few_shot_loss:.1%} is allowed)"
            )
    return failures


def _by_source(candidate: Items, base: Items) -> dict[str, tuple[int, float, float]]:
    """Problems and both accuracies of each source by itself; empty where all problems are of one."""
    groups = measures.by_source(list(candidate.values()))
    return {name: (len(rows), _share(rows), _share([base[row["id"]] for row in rows])) for name, rows in groups.items()}


def _share(rows: Sequence[Item]) -> float:
    return sum(row["correct"] for row in rows) / len(rows)


def _source_failures(
    sources: dict[str, tuple[int, float, float]], settings: Gate, numbers: dict[str, Any]
) -> list[str]:
    """Add the numbers of each source and their mean, in which each counts the same; returns where too much is lost."""
    failures = []
    for name, (n, ours, rival) in sources.items():
        numbers |= {f"on_{slug(name)}_accuracy": ours, f"base_on_{slug(name)}_accuracy": rival}
        if round(rival - ours, 9) > settings.max_source_loss:
            failures.append(
                f"of the {n} problems of {name} it has {ours:.1%} right where the base has {rival:.1%} "
                f"(a loss of at most {settings.max_source_loss:.1%} is allowed)"
            )
    if sources:
        _, ours_, rivals = zip(*sources.values(), strict=True)
        numbers |= {"macro_accuracy": fmean(ours_), "base_macro_accuracy": fmean(rivals)}
    return failures


def _verdict(
    failures: list[str], sources: dict[str, tuple[int, float, float]], numbers: dict[str, Any], settings: Gate
) -> Decision:
    name, right = numbers["candidate"], f"{numbers['accuracy']:.1%} of {numbers['n']} gate problems"
    rivals = [rival for rival in ("base", "champion") if f"{rival}_difference" in numbers]
    gains = " and ".join(
        f"{numbers[f'{rival}_difference']:+.1%} on the {rival} (p = {numbers[f'{rival}_p_value']:.2g})"
        for rival in rivals
    )
    numbers["failures"] = failures
    if not failures:
        reason = f"{name} is promoted: {right}, {gains}"
    elif settings.force:
        numbers["forced"] = True
        reason = f"{name} is promoted by force, although {'; '.join(failures)}"
    else:
        reason = f"{name} is rejected: {'; '.join(failures)}"
    if sources:
        each = ", ".join(f"{source} {rival:.1%} to {ours:.1%}" for source, (_, ours, rival) in sources.items())
        macro = f"macro {numbers['base_macro_accuracy']:.1%} to {numbers['macro_accuracy']:.1%}"
        reason += f". From the base by source: {each}, {macro}"
    return Decision(promote=not failures or settings.force, reason=f"{reason}.", numbers=numbers)
