"""What the numbers say in words: the sentences that open the report, in HTML and in Markdown alike."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from components.lib.reporting.wording import NBSP, about, interval, label, p_text, percent, points, points_interval


def headline(results: Mapping[str, Any]) -> str:
    """One sentence: how the last checkpoint does under the first protocol, and what each step gave."""
    rows = of_protocol(results["results"], results["results"][0]["protocol"])
    base, last = rows[0], rows[-1]
    name, share = label(last["checkpoint"]), percent(last["accuracy"])
    text = f"{name} answers {share}{NBSP}% of {last['n']:,} problems right, {last['protocol']}"
    if not last["before"]:
        return f"{text}."
    worse = f", fewer than {label(last['before'])}" if last["difference"] < 0 else ""
    steps = (
        f"{label(row['checkpoint'])} {points(row['difference'])} points "
        f"(adjusted p{NBSP}{_with_sign(row['p_adjusted'])})"
        for row in rows[1:]
    )
    start = f"{label(base['checkpoint'])} {percent(base['accuracy'])}{NBSP}%"
    return f"{text}{worse}: {', '.join([start, *steps])}."


def findings(results: Mapping[str, Any]) -> list[str]:
    """A few sentences: is each change real, is it maths or form, and what happens under the other protocols."""
    first, *others = protocols(results)
    changes = [row for row in of_protocol([*results["results"], *results["overall"]], first) if row["before"]]
    changes += [change for protocol in others if (change := _against_first(results, protocol))]
    found = [_change_sentence(results, change) for change in changes]
    found += _form_sentence(results, first)
    found += [_sources_sentence(results, row) for row in _last_rows(results) if row["macro"] is not None]
    return [*found, *filter(None, [results["handed_on"]]), *results["left_out"]]


def cut_off(rows: Sequence[Mapping[str, Any]], curves: Mapping[str, Any], limit: float) -> list[str]:
    """A sentence where more than the share `limit` of a checkpoint's answers, or in training, hit the length limit."""
    found = [
        f"{percent(row['truncated'])}{NBSP}% of {label(row['checkpoint'])}'s ({row['protocol']})"
        for row in rows
        if row["truncated"] > limit
    ]
    told = {stage: [share for _, share in columns.get("truncated", [])] for stage, columns in curves.items()}
    means = {stage: fmean(shares) for stage, shares in told.items() if shares}
    found += [f"{percent(mean)}{NBSP}% in training by {label(stage)}" for stage, mean in means.items() if mean > limit]
    if not found:
        return []
    return [
        f"Completions were cut off at the length limit: {', '.join(found)}. They count as wrong, whatever they would "
        "have said; raise evaluate_max_new_tokens and grpo_max_new_tokens, unless the model repeats itself."
    ]


def parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float, float]:
    """The change of accuracy, and its two parts: finding more right answers, and giving them in the form asked for.

    Accuracy is the share of right answers, in any form, among the completions that came to an end, times the rest,
    which is form: coming to an end and answering as asked. A completion that was cut off says nothing of the maths.
    Each part is the change of one factor at the mean of the other (the two-fold decomposition of Blinder and Oaxaca
    1973), so that they add up.
    """
    ended = [1 - row["truncated"] for row in (before, after)]
    found = _known([row["right_anywhere"] / e if e else None for row, e in zip((before, after), ended, strict=True)])
    # Who finds nothing shows nothing of the form; it is then taken as that of the other.
    formed = _known([row["accuracy"] / f if f else None for row, f in zip((before, after), found, strict=True)])
    maths = (found[1] - found[0]) * sum(formed) / 2
    form = (formed[1] - formed[0]) * sum(found) / 2
    return after["accuracy"] - before["accuracy"], maths, form


def _known(pair: Sequence[float | None]) -> list[float]:
    """Both of a pair, an unknown one as the other, 0 if both are unknown."""
    return [one if one is not None else other or 0.0 for one, other in zip(pair, pair[::-1], strict=True)]


def decomposition(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each protocol and each checkpoint but the first: `parts` of the change from the one before.

    Where too many completions of one of the two were cut off, the parts are None: nothing can be said of them.
    """
    found = []
    for row in (row for row in results["results"] if row["before"]):
        before = _row(results, row["before"], row["protocol"])
        total, maths, form = parts(before, row)
        told = (total, None, None) if _blurred(results, before, row) else (total, maths, form)
        names = {name: row[name] for name in ("protocol", "before", "checkpoint")}
        found.append(names | dict(zip(("total", "maths", "form"), told, strict=True)))
    return found


def _blurred(results: Mapping[str, Any], *rows: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of `rows` of which too many completions were cut off."""
    return [row for row in rows if row["truncated"] > results["cut_off_limit"]]


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


def _change_sentence(results: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    level = round(1 - results["confidence"], 9)  # as written: 1 - 0.95 is a little more than 0.05
    row = _row(results, change["checkpoint"], change["protocol"])
    won, lost = change["discordant"]
    names = f"{label(change['before'])} to {label(row['checkpoint'])}"
    if not won and not lost:
        accuracy = f"{percent(row['accuracy'])}{NBSP}% ({interval(row['interval'])})"
        return f"{row['protocol']}: {names} changes no problem: {accuracy} as before."
    sure = "no more than chance explains" if change["p_adjusted"] >= level else "more than chance explains"
    return (
        f"{row['protocol']}: {names} {points(change['difference'])} points "
        f"({points_interval(change['difference_interval'])}), to {percent(row['accuracy'])}{NBSP}% "
        f"({interval(row['interval'])}). {won:,} problems won, {lost:,} lost, {sure} "
        f"(p{NBSP}{_with_sign(change['p_value'])}, adjusted {_with_sign(change['p_adjusted'])}, level {level:g})."
    )


def _form_sentence(results: Mapping[str, Any], protocol: str) -> list[str]:
    rows = of_protocol(results["results"], protocol)
    if len(rows) < 2:
        return []
    if blurred := _blurred(results, rows[0], rows[-1]):
        cut = " and ".join(f"{percent(row['truncated'])}{NBSP}% of {label(row['checkpoint'])}'s" for row in blurred)
        return [f"Maths or form, {protocol}: nothing can be said, since {cut} completions were cut off."]
    total, maths, form = (points(part) for part in parts(rows[0], rows[-1]))
    return [
        f"Maths or form, {protocol}: of the {total} points, {maths} come from more right answers, wherever they stand "
        f"in the text, and {form} from coming to an end and answering in the form asked for."
    ]


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
