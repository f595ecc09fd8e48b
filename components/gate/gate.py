"""The decision whether a trained model may take the champion's place.

The candidate must beat the base model and the champion, problem by problem, on a split that nothing else has
looked at, and must not have bought its score with cut-off or badly formed completions.
"""

import dataclasses
import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import read_jsonl, write_text
from components.schema import Gate
from components.store import Store, open_store

CHAMPION = "champion.json"

Items = dict[str, dict[str, Any]]  # problem id -> row of items.jsonl


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


def run_gate(*, base: Path, candidate: Path, registry: str, settings: Gate, decision_out: Path) -> Decision:
    """Decide about a candidate against base and the registry's champion, and write the decision as JSON.

    `base` and `candidate` are directories that `evaluate` wrote. The champion is what the registry's
    champion.json names; its `items` key holds its rows of the gate split.
    """
    name = next(iter(read_items(candidate).values()))["checkpoint"]
    with tempfile.TemporaryDirectory() as directory:
        champion = champion_items(open_store(registry), Path(directory))
        decision = decide(evaluations={"base": base, name: candidate}, champion=champion, settings=settings)
    write_text(decision_out, decision.to_json() + "\n")
    print(decision.reason)
    return decision


def champion_items(store: Store, directory: Path) -> Path | None:
    """Fetch the champion's gate items into `directory`; None if nothing was ever promoted."""
    champion = store.read_json(CHAMPION)
    if champion is None:
        return None
    path = directory / "champion.jsonl"
    store.get_file(champion["items"], path)
    return path


def decide(*, evaluations: dict[str, Path], champion: Path | None, settings: Gate) -> Decision:
    """Whether the last of `evaluations` may be promoted.

    `evaluations` maps base, [sft], [grpo] in this order to the directories that `evaluate` wrote (items.jsonl);
    `champion` is the items.jsonl of the last promoted model, or None if there is none yet. Only rows of the gate
    split, zero-shot, sample 0 count. `ValueError` if there are none, or if base and candidate answered other
    problems. A champion that was measured on other problems or prompts is not compared; `numbers` and the reason
    say so (`champion_mismatch` tells beforehand, so that it can be measured anew).
    """
    names = list(evaluations)
    if len(names) < 2 or names[0] != "base":
        raise ValueError(f"the gate got evaluations of {names}; it needs base first and the candidate last")
    base, candidate = (read_items(evaluations[name]) for name in (names[0], names[-1]))
    if why := _mismatch(candidate, base, prompts=False):
        raise ValueError(f"{names[-1]} and base cannot be paired on the gate split: {why}; evaluate both anew")
    numbers: dict[str, Any] = {"candidate": names[-1], "forced": False} | _guarded(candidate)
    numbers |= {"margin": settings.margin, "alpha": settings.alpha}
    failures = _beats(candidate, base, "base", settings, numbers)
    note = ""
    if champion is not None:
        rival = read_items(champion)
        note = _mismatch(candidate, rival, prompts=True)
        if not note:
            failures += _beats(candidate, rival, "champion", settings, numbers)
    numbers |= {"champion_compared": champion is not None and not note, "champion_mismatch": note}
    failures += _guard_failures(numbers, settings)
    return _verdict(failures, note, numbers, settings)


def champion_mismatch(evaluation: Path, champion: Path) -> str:
    """Why the champion's items cannot be paired with an evaluation's; empty if they can.

    Both are an items.jsonl or the directory that holds it.
    """
    return _mismatch(read_items(evaluation), read_items(champion), prompts=True)


def read_items(path: Path) -> Items:
    """The rows that the gate looks at, by problem id; `ValueError` if there are none or one comes twice."""
    path = path / "items.jsonl" if path.is_dir() else path
    items: Items = {}
    for row in read_jsonl(path):
        if row["split"] == "gate" and row["protocol"] == "zero-shot" and row["sample"] == 0:
            if row["id"] in items:
                raise ValueError(f"{path}: problem {row['id']} is there twice in the gate split; evaluate anew")
            items[row["id"]] = row
    if not items:
        raise ValueError(f"{path} has no zero-shot rows of the gate split; raise standardize_gate_share and rerun")
    return items


def mcnemar_greater(won: int, lost: int) -> float:
    """The one-sided exact McNemar p-value: that many or more wins among won + lost by fair coin flips.

    >>> mcnemar_greater(5, 0)
    0.03125
    """
    pairs = won + lost
    return sum(math.comb(pairs, k) for k in range(won, pairs + 1)) / 2**pairs


def _mismatch(candidate: Items, other: Items, *, prompts: bool) -> str:
    """Why two sets of items cannot be paired; empty if they can."""
    if only := set(candidate) ^ set(other):
        return f"{len(only)} problems are in one of them only, such as {min(only)}"
    for name, what in (("gold", "golds"), *([("prompt_sha256", "prompts")] if prompts else [])):
        differing = sum(row[name] != other[key][name] for key, row in candidate.items())
        if differing:
            return f"{differing} of {len(candidate)} {what} differ"
    return ""


def _guarded(candidate: Items) -> dict[str, Any]:
    rows = candidate.values()
    return {
        "n": len(candidate),
        "accuracy": sum(row["correct"] for row in rows) / len(candidate),
        "truncated": sum(row["finish_reason"] == "length" for row in rows) / len(candidate),
        "well_formed": sum(row["think_ok"] and row["answer_marked"] for row in rows) / len(candidate),
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
    if difference < settings.margin:
        failures.append(f"it gains {difference:+.1%} on the {name}, less than the margin of {settings.margin:+.1%}")
    if p_value > settings.alpha:
        failures.append(f"its {difference:+.1%} on the {name} may be chance (p = {p_value:.3g} > {settings.alpha:g})")
    return failures


def _guard_failures(numbers: dict[str, Any], settings: Gate) -> list[str]:
    failures = []
    if numbers["truncated"] > settings.max_truncated:
        failures.append(
            f"{numbers['truncated']:.1%} of its completions were cut off (at most {settings.max_truncated:.1%})"
        )
    if numbers["well_formed"] < settings.min_well_formed:
        share = f"{numbers['well_formed']:.1%} of its completions"
        failures.append(f"only {share} are well formed (at least {settings.min_well_formed:.1%})")
    return failures


def _verdict(failures: list[str], note: str, numbers: dict[str, Any], settings: Gate) -> Decision:
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
    if note:
        reason += f"; the champion was measured on other problems or prompts and is not compared ({note})"
    return Decision(promote=not failures or settings.force, reason=f"{reason}.", numbers=numbers)
