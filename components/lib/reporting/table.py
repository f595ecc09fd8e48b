"""Tables by tabulate, of lines for a terminal and of Markdown, and the one that a run prints at its end."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from tabulate import SEPARATING_LINE, DataRow, Line, TableFormat, tabulate

from components.lib.reporting import escape
from components.lib.reporting.wording import MINUS, interval, p_text, percent, points

_RULE = Line("", "-", "--", "")
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

    `results` is what results.json holds. Lines are shorter than 100 columns; an empty one is between protocols.
    """
    head = ("checkpoint", "protocol", "right", "accuracy", "interval", "change", "p-value")
    rows: list[Sequence[str]] = []
    for _, group in groupby(results["results"], lambda row: row["protocol"]):
        rows += [("",) * len(head)] * bool(rows) + [_cells(row) for row in group]
    return (
        f"{lines('llrrrrr', head, rows)}\naccuracy in %, {100 * results['confidence']:g} % Wilson intervals; change in "
        "points to the checkpoint before,\np-values of the exact McNemar test"
    )


def score_cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """How many are right, the accuracy, and its interval, as a terminal's table shows them."""
    right = f"{row['correct']:g}/{row['n']}"
    return right, f"{percent(row['accuracy'])} %", interval(row["interval"], " - ")


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    change = points(row["difference"]).replace(MINUS, "-")
    return row["checkpoint"], row["protocol"], *score_cells(row), change, p_text(row["p_value"])
