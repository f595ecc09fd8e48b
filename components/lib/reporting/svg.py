"""Small charts as inline SVG; colours come from the page's CSS classes, so that they follow light and dark.

All are drawn 340 units wide: a phone shows one across, a desktop puts several side by side, and text keeps its size.
Series are coloured by the classes `c-<name>`, the outcomes of a completion by `o-<name>`.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from components.lib.reporting.wording import label

WIDTH = 340


def intervals(rows: Sequence[Mapping[str, Any]], title: str, domain: tuple[float, float]) -> str:
    """A dot with its interval for each row {"checkpoint", "accuracy", "interval"}, over `domain` in shares."""
    left, right, step = 52, WIDTH - 54, 30
    height = step * len(rows) + 34
    x = _scale(domain, (left, right))
    parts = _x_axis(x, ticks(*domain), height - 22, 8, lambda v: f"{100 * v:g} %")
    for k, row in enumerate(rows):
        y = 8 + step * k + step / 2
        low, high = row["interval"]
        name = row["checkpoint"]
        parts += [
            _text(left - 10, y + 4, label(name), "end", "name"),
            f'<line class="c-{name} whisker" x1="{x(low):.1f}" y1="{y}" x2="{x(high):.1f}" y2="{y}"/>',
            f'<circle class="c-{name} dot" cx="{x(row["accuracy"]):.1f}" cy="{y}" r="5.5"/>',
            _text(WIDTH - 2, y + 4, f"{100 * row['accuracy']:.1f} %", "end", "value"),
        ]
    return _svg(height, title, parts)


def stacks(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """A bar of outcome shares for each row {"checkpoint", "outcomes": {name: share}}; shares add up to 1."""
    left, right, step, bar = 52, WIDTH - 16, 34, 22
    height = step * len(rows) + 26
    x = _scale((0, 1), (left, right))
    parts = _x_axis(x, [0, 0.25, 0.5, 0.75, 1], height - 22, 4, lambda v: f"{100 * v:g} %")
    for k, row in enumerate(rows):
        y = 4 + step * k + (step - bar) / 2
        parts.append(_text(left - 10, y + bar / 2 + 4, label(row["checkpoint"]), "end", "name"))
        start = 0.0
        for name, share in row["outcomes"].items():
            if share > 0:
                width = max(0.0, x(start + share) - x(start) - 1)
                parts.append(
                    f'<rect class="o-{name}" x="{x(start):.1f}" y="{y}" width="{width:.1f}" height="{bar}">'
                    f"<title>{escape(name.replace('_', ' '))} {100 * share:.1f} %</title></rect>"
                )
                if width > 34:
                    middle = x(start + share / 2)
                    parts.append(_text(middle, y + bar / 2 + 4, f"{100 * share:.0f}", "middle", f"inside t-{name}"))
            start += share
    return _svg(height, title, parts)


def distributions(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """Lengths of each row {"checkpoint", "lengths": {"shares", "bin_width", "median"}}, one strip under another."""
    left, right, step = 52, WIDTH - 40, 48
    height = step * len(rows) + 32
    top = rows[0]["lengths"]["bin_width"] * len(rows[0]["lengths"]["shares"])
    x = _scale((0, top), (left, right))
    parts = _x_axis(x, ticks(0, top), height - 22, 4, lambda v: f"{v:,.0f}")
    for k, row in enumerate(rows):
        base, lengths, name = 4 + step * (k + 1), row["lengths"], row["checkpoint"]
        tall = max(lengths["shares"])
        outline = [f"M{left},{base}"]
        for i, share in enumerate(lengths["shares"]):
            y = base - (step - 10) * share / tall
            ends = (x(i * lengths["bin_width"]), x((i + 1) * lengths["bin_width"]))
            outline.append(f"L{ends[0]:.1f},{y:.1f}L{ends[1]:.1f},{y:.1f}")
        middle = x(lengths["median"])
        parts += [
            f'<path class="c-{name} area" d="{"".join(outline)}L{right},{base}Z"/>',
            f'<line class="c-{name} median" x1="{middle:.1f}" y1="{base - step + 8}" x2="{middle:.1f}" y2="{base}"/>',
            _text(left - 10, base - 6, label(name), "end", "name"),
            _text(WIDTH - 2, base - 6, f"{lengths['median']:,g}", "end", "value"),
        ]
    return _svg(height, title, parts)


def line(points: Sequence[Sequence[float]], title: str, series: str, share: bool) -> str:
    """One training curve from [[step, value], ...]; `share` values are written in percent."""
    height, left, right, top, bottom = 150, 46, WIDTH - 10, 10, 128
    values = [value for _, value in points]
    low, high = min(values), max(values)
    if share:
        low, high = 0.0, max(high, 0.01)
    if low == high:
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    marks = ticks(low, high, 4)
    low, high = min(low, marks[0]), max(high, marks[-1])
    steps = (min(step for step, _ in points), max(step for step, _ in points))
    x = _scale(steps if steps[0] < steps[1] else (steps[0] - 1, steps[1] + 1), (left, right))
    y = _scale((low, high), (bottom, top))
    parts = []
    for mark in marks:
        parts.append(f'<line class="grid" x1="{left}" y1="{y(mark):.1f}" x2="{right}" y2="{y(mark):.1f}"/>')
        words = f"{100 * mark:g} %" if share else f"{mark:g}"
        parts.append(_text(left - 6, y(mark) + 4, words, "end", "tick"))
    for mark in ticks(*steps, 5):
        parts.append(_text(x(mark), bottom + 16, f"{mark:,.0f}", "middle", "tick"))
    path = "".join(f"{'L' if i else 'M'}{x(step):.1f},{y(value):.1f}" for i, (step, value) in enumerate(points))
    parts.append(f'<path class="c-{series} curve" d="{path}"/>')
    parts.append(f'<circle class="c-{series} dot" cx="{x(points[-1][0]):.1f}" cy="{y(points[-1][1]):.1f}" r="3"/>')
    return _svg(height, title, parts)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers inside [low, high], about `count` of them."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def domain(intervals_: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Shares from the multiple of 10 % below all intervals to the one above."""
    low = math.floor(10 * min(ends[0] for ends in intervals_) + 1e-9) / 10
    high = math.ceil(10 * max(ends[1] for ends in intervals_) - 1e-9) / 10
    return (low, high) if high > low else (low, low + 0.1)


def _scale(domain: Sequence[float], span: tuple[float, float]) -> Any:
    def place(value: float) -> float:
        return span[0] + (value - domain[0]) / (domain[1] - domain[0]) * (span[1] - span[0])

    return place


def _x_axis(x: Any, marks: Sequence[float], bottom: float, top: float, write: Any) -> list[str]:
    parts = []
    for mark in marks:
        parts.append(f'<line class="grid" x1="{x(mark):.1f}" y1="{top}" x2="{x(mark):.1f}" y2="{bottom}"/>')
        parts.append(_text(x(mark), bottom + 16, write(mark), "middle", "tick"))
    return parts


def _text(x: float, y: float, text: str, anchor: str, css: str) -> str:
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
