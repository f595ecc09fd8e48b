"""The history as one HTML file without scripts or links to anything outside it: accuracy over time, and the table."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from markupsafe import Markup

from components.lib.files import write_text
from components.lib.registry.outcome import ENDINGS, Outcome, ResultRow
from components.lib.registry.store import open_store
from components.lib.reporting import history as past
from components.lib.reporting import page, svg
from components.lib.reporting.history import History, result_of
from components.lib.reporting.wording import interval, moment, percent

WIDTH, HEIGHT = 1000, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 16, 300  # of the plot, in its own units
MARKS = BOTTOM + 14  # where runs without a result are marked
# Steps of the time axis, the first that gives at most eight of them is taken.
_STEPS = [timedelta(minutes=n) for n in (1, 2, 5, 10, 20, 60, 180, 720)] + [
    timedelta(days=n) for n in (1, 2, 7, 14, 28, 91, 182, 364)
]


def show(registry: str, out: Path) -> int:
    """Print the history of a registry as a table and write it with a plot to `out`; returns the exit status.

    Only the registry is read, and nothing but `out` is written. `ValueError` if it holds no run.
    """
    history = past.read_history(open_store(registry))
    print(past.text_table(history))
    write_text(out, html(history))
    print(f"\nhistory: {out}")
    return 0


def html(history: History) -> str:
    """Render history_page.html."""
    return page.render(
        Path(__file__).with_name("history_page.html"),
        history=history,
        sentence=" ".join([past.champion_sentence(history), *past.unread_sentence(history)]),
        plot=plot(history),
        source_plots={name: plot(history, name) for name in past.sources_of(history)},
        result_of=result_of,
        by_source=past.by_source,
        ending_of=past.ending_of,
        new_rows=past.new_rows,
        counts=_counts(history.runs),
        protocol=next((result["protocol"] for run in reversed(history.runs) if (result := result_of(run))), ""),
    )


def plot(history: History, source: str = "") -> Markup:
    """Accuracy of every judged run over time with its interval, the champion's as a line, as inline SVG.

    Of all evaluation problems, with the other runs marked; or of one source, those runs alone that were asked it.
    """
    runs = [run for run in history.runs if result_of(run, source) or not source]
    moments = [*(datetime.fromisoformat(run.ended) for run in history.runs), *(r.since for r in history.reigns)]
    first, last = min(moments), max(moments)
    place = svg.scale((first.timestamp(), last.timestamp()), (LEFT + 14, WIDTH - RIGHT - 14))
    domain = svg.share_domain(result["interval"] for run in runs if (result := result_of(run, source)))
    y = svg.scale(domain, (BOTTOM, TOP))

    def x(at: datetime) -> float:
        return place(at.timestamp())

    days = last - first > timedelta(days=2)
    times = [(x(at), f"{at:%Y-%m-%d}" if days else f"{at:%m-%d %H:%M}") for at in time_ticks(first, last)]
    shares = [(y(share), f"{100 * share:g} %") for share in svg.ticks(*domain)]
    parts = [*svg.y_axis(shares, LEFT, WIDTH - RIGHT), *svg.x_axis(times, TOP, MARKS + 14)]
    parts += _reigns(history, source, last, x, y)
    parts += [_point(run, result_of(run, source), x(datetime.fromisoformat(run.ended)), y) for run in runs]
    return svg.figure(WIDTH, HEIGHT, f"accuracy over time{source and ', '}{source}", parts)


def time_ticks(first: datetime, last: datetime) -> list[datetime]:
    """Round moments between two, at most nine, in UTC."""
    span = max(last - first, timedelta(minutes=1))
    step = next((step for step in _STEPS if span / step <= 8), _STEPS[-1] * math.ceil(span / _STEPS[-1] / 8))
    zero = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday
    numbers = range(math.ceil((first - zero) / step), (last - zero) // step + 1)
    return [zero + number * step for number in numbers] or [first]


def _reigns(history: History, source: str, end: datetime, x: Callable[[datetime], float], y: svg.Scale) -> list[str]:
    """The champion's accuracy as steps, each until the next champion or the last run."""
    parts, before = [], ""
    ends = [*(reign.since for reign in history.reigns[1:]), end]
    for reign, until in zip(history.reigns, ends, strict=False):  # without reigns there is one end too many
        if result := reign.result(source):
            level = f"{y(result['accuracy']):.1f}"
            start = f"{before}V{level}" if before else f"M{x(reign.since):.1f},{level}"
            parts.append(svg.mark("path", "c-champion curve", d=f"{start}H{x(until):.1f}"))
        before = f"M{x(until):.1f},{level}" if result else ""
    return parts


def _point(run: Outcome, result: ResultRow | None, x: float, y: svg.Scale) -> str:
    """A dot with its interval, a cross for a run that failed before it was evaluated, a dash if nothing had changed."""
    tip = f"{run.run_id}, {moment(run.ended)}: {past.ending_of(run)}"
    if result is None:
        path = f"M{x - 4:.1f},{MARKS - 4}l8,8m0,-8l-8,8" if run.ending == "failed" else f"M{x - 4:.1f},{MARKS}h8"
        return svg.mark("path", f"c-{run.ending} mark", tip, d=path)
    low, high = result["interval"]
    tip += f", {percent(result['accuracy'])} % ({interval(result['interval'], ' to ')}) of {result['n']:,} problems"
    line = svg.line("whisker", x, y(low), x, y(high))
    return svg.group(f"c-{run.ending}", tip, line, svg.dot("", x, y(result["accuracy"]), 5.5))


def _counts(runs: Sequence[Outcome]) -> str:
    """How many runs ended how."""
    found = {word: sum(run.ending == word for run in runs) for word in ENDINGS}
    listed = ", ".join(f"{count} {word}" for word, count in found.items() if count)
    return f"{len(runs)} run{'s' * (len(runs) != 1)}: {listed}"
