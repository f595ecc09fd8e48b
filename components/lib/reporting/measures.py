"""What is measured over judged items of one split and protocol: accuracy, rates, pass@k and maj@k."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from components.lib.answers import text_answer
from components.lib.answers.judging import Item
from components.lib.reporting.statistics import majority, pass_at_k, wilson


def by_problem(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Items of one split and protocol grouped by problem id, samples in order."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item["sample"]):
        groups[item["id"]].append(item)
    return dict(groups)


def by_source(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Items by the name of their source, names in order; empty where all have the same, for then that tells nothing."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[source_of(item)].append(item)
    return {name: groups[name] for name in sorted(groups)} if len(groups) > 1 else {}


def source_of(item: Item) -> str:
    """The name of the source that an item's problem is from; empty in items of before there were several."""
    return item.get("source", "")


def macro(items: Sequence[Item]) -> float | None:
    """The mean of the sources' accuracies, each counting the same; None where there is but one."""
    accuracies = [_right(group) / len(by_problem(group)) for group in by_source(items).values()]
    return _mean(accuracies) if accuracies else None


def rates(items: Sequence[Item]) -> dict[str, float]:
    """Shares of items that were cut off, unread, well formed or right by other rules, and their mean tokens.

    Of lm-eval's rules those that all items have: a share of some would not compare with the others.
    """
    flags: dict[str, list[float]] = {
        "truncated": [item["finish_reason"] == "length" for item in items],
        "unparsed": [item["unparsed"] for item in items],
        "timed_out": [item.get("timed_out", False) for item in items],
        "well_formed": [item["think_ok"] and item["answer_marked"] for item in items],
        "right_anywhere": [right_anywhere(item) for item in items],
        "lenient_accuracy": [item["correct_lenient"] for item in items],
        **{f"lm_eval_{rule}": [item["lm_eval"][rule] for item in items] for rule in _shared_rules(items)},
        "stopped_at_answer": [item["stopped_at_answer"] for item in items],
        "mean_tokens": [item["tokens"] for item in items],
    }
    return {name: sum(values) / len(values) for name, values in flags.items()}


def right_anywhere(item: Item) -> bool:
    """Whether a whole completion gives the right answer, in the form asked for or not.

    The lenient parser looks outside the reasoning only; where the answer is a number, lm-eval's flexible filter also
    finds the last one of a model that never closes its think block, and so tells not knowing the answer from not
    knowing the form.
    """
    generous = item["correct_lenient"] or item["lm_eval"].get("flexible", False)
    return item["correct"] or (item["finish_reason"] == "stop" and generous)


def accuracy(items: Sequence[Item], confidence: float) -> dict[str, Any]:
    """Count of problems, right ones, accuracy and Wilson interval; a problem counts with the mean of its samples."""
    right, n = _right(items), len(by_problem(items))
    low, high = wilson(right, n, confidence)
    correct: float = int(right) if right.is_integer() else right
    return {"n": n, "correct": correct, "accuracy": right / n, "interval": [low, high]}


def sampled(items: Sequence[Item]) -> dict[str, float]:
    """pass@k for k = 1, 2, 4, ... and maj@k over all samples; empty when each problem has one sample.

    Votes are the same as the kind of the answer says, mathematics as text; completions that hit the length limit, and
    those of whose answer a checker says nothing, do not vote.
    """
    groups = list(by_problem(items).values())
    samples = min(len(group) for group in groups)
    if samples == 1:
        return {}
    ks = sorted({1, samples} | {2**power for power in range(samples.bit_length()) if 2**power <= samples})
    found = {f"pass@{k}": _mean([pass_at_k(len(g), sum(i["correct"] for i in g), k) for g in groups]) for k in ks}
    return found | {f"maj@{samples}": _mean([_majority_right(group) for group in groups])}


def _right(items: Sequence[Item]) -> float:
    groups = by_problem(items).values()
    return float(sum(Fraction(sum(item["correct"] for item in group), len(group)) for group in groups))


def _majority_right(group: Sequence[Item]) -> bool:
    votes = [_vote(item) for item in group]
    winner = majority(votes)
    return winner is not None and any(i["correct"] for i, vote in zip(group, votes, strict=True) if vote == winner)


def _vote(item: Item) -> str | None:
    answer = item["answer"] if item["finish_reason"] == "stop" else None
    return text_answer.normalized(answer) if answer is not None and item.get("answers") == "text" else answer


def _shared_rules(items: Sequence[Item]) -> list[str]:
    """The rules of lm-eval that all items have, in its order."""
    return [rule for rule in items[0]["lm_eval"] if all(rule in item["lm_eval"] for item in items)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
