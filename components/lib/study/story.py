"""The study's report in words: what can be said of each comparison, what cannot, and by which methods."""

from collections.abc import Mapping
from typing import Any

from components.lib.reporting.wording import p_text, points, points_interval
from components.lib.study.inference import LEAST_SEEDS, MOST_SEEDS, POWER

METHODS = (
    "An accuracy is that of the variant's last checkpoint; the mean is over seeds. The seed of the data is one for all "
    "runs: what differs between seeds is training and sampling alone.",
    "Intervals: bootstrap over seeds and problems, percentiles (Davison and Hinkley 1997, section 3.8), the same draw "
    "of problems for all seeds. The seeds' part is widened by sqrt(S/(S-1)) and by the ratio of Student's t to the "
    "normal quantile: of three seeds the plain bootstrap would leave out the truth far too often. They are rather too "
    "wide.",
    f"Tests: Student's paired t-test over the differences of each seed (1908), none below {LEAST_SEEDS} seeds; Holm's "
    "adjustment (1979) over all comparisons of this report. It takes differences between seeds as normal, and the "
    "problems as given: a difference is claimed only if its interval, which is over problems too, leaves out zero.",
    "Seeds that would settle a difference: power of that test by the noncentral t (Cohen 1988), a chance of "
    f"{POWER:.0%} at the level divided by the number of comparisons, if difference and deviation are what these seeds "
    "show; of few seeds that is a guess.",
    "Whether a difference depends on the protocol: the difference by one protocol less that by the first, for each "
    "seed and problem, by the same test and interval, in one family with the comparisons. Only of the pairs that the "
    "study names in `across_protocols`.",
    "It holds for this model, these data and settings, and no others.",
)


def headline(found: Mapping[str, Any]) -> str:
    """What the study claims, in one sentence."""
    claimed = [row for row in found["comparisons"] if row["claimed"]]
    shifted = [row for row in found["shifts"] if row["claimed"]]
    if not [*claimed, *shifted]:
        return f"Study {found['name']}: no difference can be claimed"
    several = len({row["protocol"] for row in found["comparisons"]}) > 1
    parts = [
        f"{row['after']} {points(row['mean'])} points on {row['before']}" + f" ({row['protocol']})" * several
        for row in claimed
    ]
    parts += [f"{row['after']} on {row['before']} {_less(row)}" for row in shifted]
    return f"Study {found['name']}: {', '.join(dict.fromkeys(parts))}"


def sentences(found: Mapping[str, Any]) -> list[str]:
    """A sentence for each comparison: what can be said, or that it cannot and how many seeds would settle it."""
    level = found["confidence"]
    return [*(_sentence(row, level) for row in found["comparisons"]), *(_shift(row, level) for row in found["shifts"])]


def _sentence(row: Mapping[str, Any], confidence: float) -> str:
    word = "better" if row["mean"] > 0 else "worse"
    return _judged(
        row, confidence, f"{row['after']} against {row['before']}, {row['protocol']}",
        f"{row['after']} is {word} than {row['before']}, {row['protocol']}",
        "That they differ cannot be said, nor that they do not.",
    )  # fmt: skip


def _shift(row: Mapping[str, Any], confidence: float) -> str:
    return _judged(
        row, confidence, f"{row['after']} against {row['before']}, {shift_of(row)}",
        f"What {row['after']} changes on {row['before']} depends on the protocol, {_less(row)}",
        "That the difference depends on the protocol cannot be said, nor that it does not.",
    )  # fmt: skip


def shift_of(row: Mapping[str, Any]) -> str:
    """Between which protocols a difference is compared."""
    return f"{row['protocol']} less {row['reference']}"


def _less(row: Mapping[str, Any]) -> str:
    size = points(abs(row["mean"])).removeprefix("+")
    return f"{size} points {'more' if row['mean'] > 0 else 'less'} {row['protocol']} than {row['reference']}"


def _judged(row: Mapping[str, Any], confidence: float, names: str, claim: str, nothing: str) -> str:
    """A comparison with its numbers, by one of three openings: its names, and what can be claimed or not."""
    seeds = len(row["differences"])
    numbers = (
        f"{points(row['mean'])} points ({points_interval(row['interval'])} at {100 * confidence:g} %), "
        f"{seeds} seed{'s' * (seeds > 1)}"
    )
    if row["p_value"] is None:
        return f"{names}: {numbers}. Nothing can be claimed of fewer than {LEAST_SEEDS} seeds.{_open(row)}"
    numbers += f", adjusted p {p_text(row['p_adjusted'])}"
    return f"{claim}: {numbers}." if row["claimed"] else f"{names}: {numbers}. {nothing}{_open(row)}"


def _open(row: Mapping[str, Any]) -> str:
    """What would settle a comparison that is open."""
    if row["lacks_problems"]:
        return f" The seeds agree, but {row['n']:,} problems are too few."
    if len(row["differences"]) == 1:
        return ""
    if needed := row["seeds_needed"]:
        return f" Some {needed} seeds would settle a difference like this one."
    return f" A difference like this one would take more than {MOST_SEEDS} seeds."


def settles(row: Mapping[str, Any]) -> str:
    """What would settle a comparison, for a table."""
    if row["claimed"]:
        return "settled"
    if row["lacks_problems"]:
        return "more problems"
    several = len(row["differences"]) > 1
    return f"{row['seeds_needed'] or f'over {MOST_SEEDS}'} seeds" if several else "not known"
