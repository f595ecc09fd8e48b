"""The history as one HTML file without scripts or links to anything outside it: accuracy over time, and the table."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.lib.files import write_text
from components.lib.registry.outcome import ENDINGS, Outcome, ResultRow
from components.lib.registry.store import open_store
from components.lib.reporting import svg
from components.lib.reporting.history import (
    History,
    champion_sentence,
    ending_of,
    moment,
    new_rows,
    read_history,
    result_of,
    text_table,
    unread_sentence,
)
from components.lib.reporting.wording import interval, percent

WIDTH, HEIGHT = 1000, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 16, 300  # of the plot, in its own units
MARKS = BOTTOM + 14  # where runs without a result are marked
# Steps of the time axis, the first that gives at most eight of them is taken.
_STEPS = [timedelta(minutes=n) for n in (1, 2, 5, 10, 20, 60, 180, 720)] + [
    timedelta(days=n) for n in (1, 2, 7, 14, 28, 91, 182, 364)
]


def html(history: History) -> str:
    """Render history_page.html."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "interval": interval, "moment": moment}
    sentence = " ".join([champion_sentence(history), *unread_sentence(history)])
    return environment.get_template("history_page.html").render(
        history=history, sentence=sentence, plot=Markup(plot(history)), result_of=result_of,
        ending_of=ending_of, new_rows=new_rows, counts=_counts(history.runs), protocol=_protocol(history.runs),
    )  # fmt: skip


def plot(history: History) -> str:
    """Accuracy of every judged run over time with its interval, the champion's as a line, as inline SVG."""
    moments = [datetime.fromisoformat(run.ended) for run in history.runs] + [reign.since for reign in history.reigns]
    x = _time_scale(min(moments), max(moments))
    results = [(run, result) for run in history.runs if (result := result_of(run))]
    low, high = svg.domain([result["interval"] for _, result in results] or [(0.0, 1.0)])

    def y(share: float) -> float:
        return BOTTOM - (share - low) / (high - low) * (BOTTOM - TOP)

    parts = [*_axes(x, y, (low, high), min(moments), max(moments)), *_reigns(history, x, y)]
    parts += [_point(run, result, x, y) for run, result in results]
    parts += [_mark(run, x) for run in history.runs if not result_of(run)]
    title = "accuracy over time"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>'
        f"{''.join(parts)}</svg>"
    )


def time_ticks(first: datetime, last: datetime) -> list[datetime]:
    """Round moments between two, at most nine, in UTC."""
    span = max(last - first, timedelta(minutes=1))
    step = next((step for step in _STEPS if span / step <= 8), _STEPS[-1] * math.ceil(span / _STEPS[-1] / 8))
    zero = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday
    number = math.ceil((first - zero) / step)
    found = []
    while (mark := zero + number * step) <= last:
        found.append(mark)
        number += 1
    return found or [first]


def _time_scale(first: datetime, last: datetime) -> Any:
    span = (last - first) / timedelta(seconds=1) or 1.0

    def place(at: datetime) -> float:
        return LEFT + 14 + (at - first) / timedelta(seconds=1) / span * (WIDTH - RIGHT - LEFT - 28)

    return place


def _axes(x: Any, y: Any, domain: tuple[float, float], first: datetime, last: datetime) -> list[str]:
    parts = []
    for share in svg.ticks(*domain):
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y(share):.1f}" x2="{WIDTH - RIGHT}" y2="{y(share):.1f}"/>')
        parts.append(_text(LEFT - 8, y(share) + 4, f"{100 * share:g} %", "end"))
    days = last - first > timedelta(days=2)
    for mark in time_ticks(first, last):
        at = x(mark)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{BOTTOM}"/>')
        parts.append(_text(at, BOTTOM + 44, f"{mark:%Y-%m-%d}" if days else f"{mark:%m-%d %H:%M}", "middle"))
    return parts


def _reigns(history: History, x: Any, y: Any) -> list[str]:
    """The champion's accuracy as steps, each until the next champion or the last run."""
    end = max([datetime.fromisoformat(run.ended) for run in history.runs] + [r.since for r in history.reigns])
    parts, before = [], ""
    for number, reign in enumerate(history.reigns):
        if reign.result is None:
            before = ""
            continue
        until = history.reigns[number + 1].since if number + 1 < len(history.reigns) else end
        level = f"{y(reign.result['accuracy']):.1f}"
        start = f"{before}V{level}" if before else f"M{x(reign.since):.1f},{level}"
        parts.append(f'<path class="champion" d="{start}H{x(until):.1f}"/>')
        before = f"M{x(until):.1f},{level}"
    return parts


def _point(run: Outcome, result: ResultRow, x: Any, y: Any) -> str:
    at, (low, high) = x(datetime.fromisoformat(run.ended)), result["interval"]
    share = f"{percent(result['accuracy'])} % ({percent(low)} to {percent(high)})"
    words = escape(f"{run.run_id}, {moment(run.ended)}: {ending_of(run)}, {share} of {result['n']:,} problems")
    return (
        f'<g class="e-{run.ending}"><title>{words}</title>'
        f'<line class="whisker" x1="{at:.1f}" y1="{y(low):.1f}" x2="{at:.1f}" y2="{y(high):.1f}"/>'
        f'<circle class="dot" cx="{at:.1f}" cy="{y(result["accuracy"]):.1f}" r="5.5"/></g>'
    )


def _mark(run: Outcome, x: Any) -> str:
    """A cross for a run that failed before it was evaluated, a dash for one that had nothing to do."""
    at = x(datetime.fromisoformat(run.ended))
    words = escape(f"{run.run_id}, {moment(run.ended)}: {ending_of(run)}")
    cross = f"M{at - 4:.1f},{MARKS - 4}l8,8m0,-8l-8,8" if run.ending == "failed" else f"M{at - 4:.1f},{MARKS}h8"
    return f'<g class="e-{run.ending}"><title>{words}</title><path class="mark" d="{cross}"/></g>'


def _counts(runs: Sequence[Outcome]) -> str:
    """How many runs ended how."""
    found = {word: sum(run.ending == word for run in runs) for word in ENDINGS}
    listed = ", ".join(f"{count} {word}" for word, count in found.items() if count)
    return f"{len(runs)} run{'s' * (len(runs) != 1)}: {listed}"


def _protocol(runs: Sequence[Outcome]) -> str:
    return next((result["protocol"] for run in reversed(runs) if (result := result_of(run))), "")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def show(registry: str, page: Path) -> int:
    """Print the history of a registry as a table and write it with a plot to `page`; returns the exit status.

    Only the registry is read, and nothing but `page` is written. `ValueError` if it holds no run.
    """
    history = read_history(open_store(registry))
    print(text_table(history))
    write_text(page, html(history))
    print(f"\nhistory: {page}")
    return 0
