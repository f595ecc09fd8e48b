"""Tables by tabulate, of lines for a terminal and of Markdown, and the one that a run prints at its end."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from tabulate import SEPARATING_LINE, DataRow, Line, TableFormat, tabulate

from components.lib.reporting import escape
from components.lib.reporting.wording import MINUS, interval, p_text, percent, points

_RULE = Line("", "-", "--", "")
_NAME = 22  # characters of a source, the last: of OWNER/NAME they say more
_LINES = TableFormat(None, _RULE, None, _RULE, None, DataRow("", "  ", ""), 0, None)


def lines(align: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as lines of text with a rule below head and rows; `align` has an l or r for each column."""
    # The head is a row like the others: as a head, tabulate makes it two wider than it need be.
    return _table([head, SEPARATING_LINE, *rows], align, tablefmt=_LINES)


def markdown(align: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown, of text unless a cell is Markup; `align` has an l or r for each column."""
    return _table([[_cell(cell) for cell in row] for row in rows], align, headers=head, tablefmt="pipe")


def _cell(value: Any) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", escape.markdown(value))


def _table(rows: Iterable[Any], align: str, **form: Any) -> str:
    columns = [{"l": "left", "r": "right"}[letter] for letter in align]
    return tabulate(rows, colalign=columns, disable_numparse=True, **form)


def text_table(results: Mapping[str, Any]) -> str:
    """Accuracy of every checkpoint and protocol in percent, and the change to the checkpoint before in points.

    `results` is what results.json holds. Lines are shorter than 100 columns; an empty one is between protocols. Where
    there are several sources, a second table has each by itself.
    """
    tables = [_scores(results["results"], ["protocol"])]
    if sources := [row for row in results["sources"] if row["split"] == "evaluation"]:
        tables.append(_scores(sources, ["protocol", "source"]))
    return "\n".join(tables) + (
        f"\naccuracy in %, {100 * results['confidence']:g} % Wilson intervals; change in "
        "points to the checkpoint before,\np-values of the exact McNemar test"
    )


def score_cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """How many are right, the accuracy, and its interval, as a terminal's table shows them."""
    right = f"{row['correct']:g}/{row['n']}"
    return right, f"{percent(row['accuracy'])} %", interval(row["interval"], " - ")


def _scores(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Scores with an empty line where one of `names` changes; with the macro accuracy where it is there."""
    macro = any(row["macro"] is not None for row in results)
    head = ("checkpoint", *names, "right", "accuracy", "interval", *["macro"] * macro, "change", "p-value")
    rows: list[Sequence[str]] = []
    for _, group in groupby(results, lambda row: [row[name] for name in names]):
        rows += [("",) * len(head)] * bool(rows) + [_cells(row, names, macro) for row in group]
    return lines("l" * (1 + len(names)) + "r" * (5 + macro), head, rows)


def _cells(row: Mapping[str, Any], names: Sequence[str], macro: bool) -> tuple[str, ...]:
    change = points(row["difference"]).replace(MINUS, "-")
    named = [row[name][-_NAME:] for name in names]
    mean = ["" if row["macro"] is None else f"{percent(row['macro'])} %"] * macro
    return row["checkpoint"], *named, *score_cells(row), *mean, change, p_text(row["p_value"])
