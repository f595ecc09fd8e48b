"""What the numbers say in words: the sentences that open the report, in HTML and in Markdown alike."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.lib.reporting.wording import NBSP, about, interval, label, p_text, percent, points, points_interval


def headline(results: Mapping[str, Any]) -> str:
    """One sentence: how the last checkpoint does under the first protocol."""
    row = _last_rows(results)[0]
    name, share = label(row["checkpoint"]), percent(row["accuracy"])
    text = f"{name} answers {share}{NBSP}% of {row['n']:,} problems right, {row['protocol']}"
    change = _against_first(results, row["protocol"])
    if change is None:
        return f"{text}."
    size, before = abs(round(100 * change["difference"], 1)), label(change["before"])
    word = "more" if change["difference"] > 0 else "fewer"
    return f"{text}: {size:.1f} points {word} than {before}." if size else f"{text}: as many as {before}."


def findings(results: Mapping[str, Any]) -> list[str]:
    """A few sentences: is the change real, is it maths or form, and what happens under the other protocols."""
    last_rows = _last_rows(results)
    changes = [(row, _against_first(results, row["protocol"])) for row in last_rows]
    found = [_change_sentence(row, change, results["confidence"]) for row, change in changes if change]
    if len(results["checkpoints"]) > 1:
        found.append(_form_sentence(results["results"][0], last_rows[0]))
    found += [_sources_sentence(results, row) for row in last_rows if row["macro"] is not None]
    return found + results["left_out"]


def parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float, float]:
    """The change of accuracy, and its two parts: finding more right answers, and giving them in the form asked for.

    Accuracy is the share of problems whose right answer is found anywhere, times the share of those that are given
    in the form. Each part is the change of one factor at the mean of the other (the two-fold decomposition of Blinder
    and Oaxaca 1973), so that they add up.
    """
    found = before["right_anywhere"], after["right_anywhere"]
    formed = [row["accuracy"] / row["right_anywhere"] if row["right_anywhere"] else None for row in (before, after)]
    # Who finds nothing shows nothing of the form; it is then taken as that of the other.
    first, last = (known if known is not None else other or 0.0 for known, other in (formed, formed[::-1]))
    maths = (found[1] - found[0]) * (first + last) / 2
    form = (last - first) * (found[0] + found[1]) / 2
    return after["accuracy"] - before["accuracy"], maths, form


def decomposition(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each protocol and each checkpoint but the first: `parts` of the change from the one before."""
    return [
        {name: row[name] for name in ("protocol", "before", "checkpoint")}
        | dict(zip(("total", "maths", "form"), parts(_row(results, row["before"], row["protocol"]), row), strict=True))
        for row in results["results"]
        if row["before"]
    ]


def protocols(results: Mapping[str, Any]) -> list[str]:
    """The protocols of the evaluation split, in order."""
    return list(dict.fromkeys(row["protocol"] for row in results["results"]))


def of_protocol(rows: Sequence[Mapping[str, Any]], protocol: str) -> list[Mapping[str, Any]]:
    """The rows of one protocol."""
    return [row for row in rows if row["protocol"] == protocol]


def groups(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows by what they are about: the gate split or not, the protocol, one source or all."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(about(row), []).append(row)
    return found


def _change_sentence(row: Mapping[str, Any], change: Mapping[str, Any], confidence: float) -> str:
    level = round(1 - confidence, 9)  # as written: 1 - 0.95 is a little more than 0.05
    won, lost = change["discordant"]
    names = f"{label(change['before'])} to {label(row['checkpoint'])}"
    sure = "no more than chance explains" if change["p_adjusted"] >= level else "more than chance explains"
    return (
        f"{row['protocol']}: {names} {points(change['difference'])} points "
        f"({points_interval(change['difference_interval'])}), to {percent(row['accuracy'])}{NBSP}% "
        f"({interval(row['interval'])}). {won:,} problems won, {lost:,} lost, {sure} "
        f"(p{NBSP}{_with_sign(change['p_value'])}, adjusted {_with_sign(change['p_adjusted'])}, level {level:g})."
    )


def _form_sentence(first: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    total, maths, form = (points(part) for part in parts(first, last))
    return (
        f"Maths or form, {first['protocol']}: of the {total} points, {maths} come from more right answers, wherever "
        f"they stand in the text, and {form} from giving them in the form asked for."
    )


def _sources_sentence(results: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    first = results["checkpoints"][0]
    same = [each for each in of_protocol(results["sources"], row["protocol"]) if each["split"] == row["split"]]
    before = {each["source"]: each["accuracy"] for each in same if each["checkpoint"] == first}
    parts = []
    for each in (each for each in same if each["checkpoint"] == row["checkpoint"]):
        change = f" ({points(each['accuracy'] - before[each['source']])} points)" if each["before"] else ""
        parts.append(f"{each['source']} {percent(each['accuracy'])}{NBSP}%{change}")
    return f"{row['protocol']} by source: {', '.join(parts)}; macro {percent(row['macro'])}{NBSP}%."


def _with_sign(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


def _last_rows(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in results["results"] if row["checkpoint"] == results["checkpoints"][-1]]


def _against_first(results: Mapping[str, Any], protocol: str) -> Mapping[str, Any] | None:
    """The comparison of the last checkpoint with the first one, None if there is but one."""
    if results["overall"]:
        return of_protocol(results["overall"], protocol)[0]
    row = _row(results, results["checkpoints"][-1], protocol)
    return row if row["before"] else None


def _row(results: Mapping[str, Any], checkpoint: str, protocol: str) -> Mapping[str, Any]:
    return next(r for r in results["results"] if (r["checkpoint"], r["protocol"]) == (checkpoint, protocol))
