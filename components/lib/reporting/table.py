"""The table that a run prints at its end, in plain ASCII."""

from collections.abc import Mapping
from typing import Any

from components.lib.reporting.wording import p_text

_HEAD = ("checkpoint", "protocol", "right", "accuracy", "interval", "change", "p-value")


def text_table(results: Mapping[str, Any]) -> str:
    """Accuracy of every checkpoint and protocol in percent, and the change to the checkpoint before in points.

    `results` is what results.json holds. Lines are shorter than 100 columns.
    """
    lines = [_HEAD, *(_cells(row) for row in results["results"])]
    widths = [max(len(line[k]) for line in lines) for k in range(len(_HEAD))]
    left = 2  # the first columns are words, the others are numbers
    text = [
        "  ".join(c.ljust(w) if k < left else c.rjust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    ]
    rule = "-" * max(map(len, text))
    return "\n".join([text[0].rstrip(), rule, *_grouped(results, text[1:]), rule, _foot(results)])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = row["interval"]
    change, p = "", ""
    if row["before"]:
        change, p = (
            f"{100 * row['difference']:+.1f}".replace("+0.0", "0.0").replace("-0.0", "0.0"),
            p_text(row["p_value"]),
        )
    right = f"{row['correct']:g}/{row['n']}"
    interval = f"{100 * low:.1f} - {100 * high:.1f}"
    return row["checkpoint"], row["protocol"], right, f"{100 * row['accuracy']:.1f} %", interval, change, p


def _grouped(results: Mapping[str, Any], lines: list[str]) -> list[str]:
    """Lines with an empty one between protocols."""
    found, last = [], None
    for row, line in zip(results["results"], lines, strict=True):
        if last not in (None, row["protocol"]):
            found.append("")
        found.append(line.rstrip())
        last = row["protocol"]
    return found


def _foot(results: Mapping[str, Any]) -> str:
    return (
        f"accuracy in %, {100 * results['confidence']:g} % Wilson intervals; change in points to the checkpoint "
        "before,\np-values of the exact McNemar test"
    )
