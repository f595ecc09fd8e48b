"""Everything the report says, computed from saved items as plain JSON values."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from components.compare import load
from components.compare.load import Evaluation
from components.lib.answers.judging import Item
from components.lib.recipe.schema import Compare
from components.lib.reporting import measures, statistics

# What became of a completion, best first; each is exactly one of these.
OUTCOMES = {
    "right": "right",
    "right_elsewhere": "right answer, wrong form",
    "wrong": "wrong",
    "unparsed": "no answer",
    "truncated": "cut off",
}
SEED = 0  # of the bootstrap: the same files give the same report
_BINS = 24  # of the length distributions


def outcome(item: Item) -> str:
    """Which of OUTCOMES a completion is."""
    if item["correct"]:
        return "right"
    if item["finish_reason"] == "length":
        return "truncated"
    if measures.right_anywhere(item):
        return "right_elsewhere"
    return "unparsed" if item["unparsed"] else "wrong"


def rows(evaluations: Sequence[Evaluation], split: str, settings: Compare) -> list[dict[str, Any]]:
    """One row per protocol and checkpoint of a split, each compared with the checkpoint before it."""
    found = []
    for group in [group for group in evaluations[0].groups if group[0] == split]:
        top = max(item["tokens"] for evaluation in evaluations for item in evaluation.groups[group])
        before: Evaluation | None = None
        for evaluation in evaluations:
            items = evaluation.groups[group]
            found.append(
                {"checkpoint": evaluation.checkpoint, "protocol": group[1], "split": split}
                | measures.accuracy(items, settings.confidence)
                | measures.rates(items)
                | {"macro": measures.macro(items), "sampled": measures.sampled(items)}
                | {"outcomes": _shares([outcome(item) for item in items], list(OUTCOMES))}
                | {"lengths": lengths([item["tokens"] for item in items], top)}
                | difference(before, evaluation, group, settings)
            )
            before = evaluation
    return found


def sources(evaluations: Sequence[Evaluation], split: str, settings: Compare) -> list[dict[str, Any]]:
    """The rows of each source of a split by itself, with its name as "source"; none where there is but one.

    Their tests are a family of their own: that of all problems together stays what it is with one source.
    """
    found = [
        {"source": name} | row
        for name, restricted in load.by_source(evaluations, split).items()
        for row in rows(restricted, split, settings)
    ]
    adjust(found)
    return found


def difference(
    before: Evaluation | None, after: Evaluation, group: tuple[str, str], settings: Compare
) -> dict[str, Any]:
    """The paired comparison of two checkpoints: difference, its bootstrap interval, discordant counts, p-value.

    With several samples a problem, the difference is that of the means and the exact test takes the first sample.
    Without a checkpoint before, all are None.
    """
    if before is None:
        empty = ("before", "difference", "difference_interval", "discordant", "p_value", "p_adjusted")
        return dict.fromkeys(empty)
    old, new = before.groups[group], after.groups[group]
    old_scores, new_scores = (_per_problem(items) for items in (old, new))
    low, high = statistics.paired_bootstrap(
        old_scores, new_scores, samples=settings.bootstrap_samples, confidence=settings.confidence, seed=SEED
    )
    pairs = [(a["correct"], b["correct"]) for a, b in zip(old, new, strict=True) if a["sample"] == 0]
    won, lost = pairs.count((False, True)), pairs.count((True, False))
    return {
        "before": before.checkpoint,
        "difference": (sum(new_scores) - sum(old_scores)) / len(new_scores),
        "difference_interval": [low, high],
        "discordant": [won, lost],
        "p_value": statistics.mcnemar(won, lost),
    }


def overall(evaluations: Sequence[Evaluation], settings: Compare) -> list[dict[str, Any]]:
    """First against last checkpoint for each protocol of the evaluation split; empty with fewer than three."""
    if len(evaluations) < 3:
        return []
    first, last = evaluations[0], evaluations[-1]
    groups = [group for group in first.groups if group[0] == "evaluation"]
    return [
        {"checkpoint": last.checkpoint, "protocol": group[1]} | difference(first, last, group, settings)
        for group in groups
    ]


def adjust(comparisons: Sequence[dict[str, Any]]) -> int:
    """Add Holm's `p_adjusted` over all comparisons that have a p-value; returns how many there are."""
    tested = [row for row in comparisons if row["p_value"] is not None]
    for row, adjusted in zip(tested, statistics.holm([row["p_value"] for row in tested]), strict=True):
        row["p_adjusted"] = adjusted
    return len(tested)


def lengths(tokens: Sequence[int], top: int) -> dict[str, Any]:
    """Distribution of completion lengths: quantiles in tokens, and shares in equal bins from 0 to `top`."""
    width = max(1, -(-(top + 1) // _BINS))
    counts = [0] * -(-(top + 1) // width)
    for count in tokens:
        counts[count // width] += 1
    ordered = sorted(tokens)
    return {
        "median": median(ordered),
        "p90": ordered[int(0.9 * (len(ordered) - 1))],
        "max": ordered[-1],
        "bin_width": width,
        "shares": [round(count / len(tokens), 5) for count in counts],
    }


def flips(evaluations: Sequence[Evaluation], examples: int) -> list[dict[str, Any]]:
    """What moved between consecutive checkpoints: won and lost completions with both texts."""
    found = []
    for before, after in pairwise(evaluations):
        for group in [group for group in after.groups if group[0] == "evaluation"]:
            pairs = [p for p in zip(before.groups[group], after.groups[group], strict=True) if p[0]["sample"] == 0]
            won = [(a, b) for a, b in pairs if b["correct"] and not a["correct"]]
            lost = [(a, b) for a, b in pairs if a["correct"] and not b["correct"]]
            flip: dict[str, Any] = {"protocol": group[1], "before": before.checkpoint, "after": after.checkpoint}
            for kind, moved in (("won", won), ("lost", lost)):
                examples_ = [_shown(b, before=_text(a)) for a, b in _some(moved, examples)]
                flip |= {kind: len(moved), f"{kind}_examples": examples_}
            found.append(flip)
    return found


def samples(evaluations: Sequence[Evaluation], examples: int) -> list[dict[str, Any]]:
    """Completions of each checkpoint under its first protocol: right, wrong, and badly formed."""
    found = []
    for evaluation in evaluations:
        group = next((g for g in evaluation.groups if g[0] == "evaluation"), next(iter(evaluation.groups)))
        kinds: dict[str, list[Item]] = {"right": [], "wrong": [], "badly formed": []}
        for item in evaluation.groups[group]:
            formed = item["think_ok"] and item["answer_marked"]
            kinds["right" if item["correct"] else "wrong" if formed else "badly formed"].append(item)
        for kind, items in kinds.items():
            chosen = [_shown(item) for (item,) in _some([(item,) for item in items], examples)]
            found.append({"checkpoint": evaluation.checkpoint, "protocol": group[1], "kind": kind,
                          "count": len(items), "examples": chosen})  # fmt: skip
    return found


def scores(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, dict[str, float]]]:
    """Checkpoint -> protocol -> evaluation problem -> the share of its completions that are right."""
    return {
        evaluation.checkpoint: {
            protocol: dict(zip(measures.by_problem(items), _per_problem(items), strict=True))
            for (split, protocol), items in evaluation.groups.items()
            if split == "evaluation"
        }
        for evaluation in evaluations
    }


def _per_problem(items: Sequence[Item]) -> list[float]:
    return [sum(i["correct"] for i in group) / len(group) for group in measures.by_problem(items).values()]


def _shares(values: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    return {name: values.count(name) / len(values) for name in names}


def _some(pairs: Sequence[tuple[Item, ...]], count: int) -> list[tuple[Item, ...]]:
    """At most `count`, drawn by the hash of the problem's id: nobody chose them, and they stay from week to week."""
    return sorted(pairs, key=lambda pair: hashlib.sha256(pair[0]["id"].encode()).digest())[:count]


def _shown(item: Item, **more: Any) -> dict[str, Any]:
    return {name: item[name] for name in ("id", "question", "gold")} | more | {"after": _text(item)}


def _text(item: Item) -> dict[str, Any]:
    return {name: item[name] for name in ("completion", "answer", "tokens")} | {"outcome": OUTCOMES[outcome(item)]}
