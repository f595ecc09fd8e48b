"""The report's charts: accuracies, outcomes and lengths of checkpoints, and training curves."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from components.lib.reporting import svg
from components.lib.reporting.wording import label, percent

_LEFT, _TOP = 52, 6  # of the strips

Row = Mapping[str, Any]
Marks = Iterable[tuple[float, str]]


def intervals(rows: Sequence[Row], title: str, domain: tuple[float, float]) -> Markup:
    """A dot with its interval for each row {"checkpoint", "accuracy", "interval"}, over `domain` in shares."""
    x = svg.scale(domain, (_LEFT, svg.WIDTH - 54))

    def strip(row: Row, y: float) -> list[str]:
        low, high = row["interval"]
        series = f"c-{row['checkpoint']}"
        return [
            svg.line(f"{series} whisker", x(low), y, x(high), y),
            svg.dot(series, x(row["accuracy"]), y, 5.5),
            svg.text("value", svg.WIDTH - 2, y + 4, f"{percent(row['accuracy'])} %", "end"),
        ]

    return _strips(rows, title, 30, [(x(v), f"{100 * v:g} %") for v in svg.ticks(*domain)], strip)


def stacks(rows: Sequence[Row], title: str) -> Markup:
    """A bar of outcome shares for each row {"checkpoint", "outcomes": {name: share}}; shares add up to 1."""
    x = svg.scale((0, 1), (_LEFT, svg.WIDTH - 16))

    def strip(row: Row, y: float) -> list[str]:
        parts, start = [], 0.0
        for name, share in row["outcomes"].items():
            width = x(start + share) - x(start) - 1
            if share > 0:
                tip = f"{name.replace('_', ' ')} {percent(share)} %"
                parts.append(svg.bar(f"c-{name}", x(start), y - 11, max(0.0, width), 22, tip))
            if width > 34:
                parts.append(svg.text(f"c-{name} inside", x(start + share / 2), y + 4, f"{100 * share:.0f}", "middle"))
            start += share
        return parts

    return _strips(rows, title, 34, [(x(v), f"{100 * v:g} %") for v in (0, 0.25, 0.5, 0.75, 1)], strip)


def distributions(rows: Sequence[Row], title: str) -> Markup:
    """Lengths of each row {"checkpoint", "lengths": {"shares", "bin_width", "median"}}, one strip under another."""
    top = rows[0]["lengths"]["bin_width"] * len(rows[0]["lengths"]["shares"])
    x = svg.scale((0, top), (_LEFT, svg.WIDTH - 40))

    def strip(row: Row, y: float) -> list[str]:
        lengths, base, series = row["lengths"], y + 20, f"c-{row['checkpoint']}"
        tall, width, middle = max(lengths["shares"]), lengths["bin_width"], x(lengths["median"])
        outline = "".join(
            f"V{base - 38 * share / tall:.1f}H{x((i + 1) * width):.1f}" for i, share in enumerate(lengths["shares"])
        )
        return [
            svg.mark("path", f"{series} area", d=f"M{_LEFT},{base}{outline}V{base}Z"),
            svg.line(f"{series} median", middle, base - 40, middle, base),
            svg.text("value", svg.WIDTH - 2, y + 4, f"{lengths['median']:,g}", "end"),
        ]

    return _strips(rows, title, 48, [(x(v), f"{v:,.0f}") for v in svg.ticks(0, top, whole=True)], strip)


def curve(points: Sequence[Sequence[float]], title: str, series: str, share: bool) -> Markup:
    """One training curve from [[step, value], ...]; `share` values are written in percent."""
    left, right, top, bottom = 46, svg.WIDTH - 10, 10, 126
    steps, values = zip(*points, strict=True)
    low, high = (0.0, max(*values, 0.01)) if share else (min(values), max(values))
    if low == high:
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    marks = svg.ticks(low, high, 4)
    x = svg.scale((min(steps), max(steps)), (left, right))
    y = svg.scale((min(low, marks[0]), max(high, marks[-1])), (bottom, top))
    path = "L".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
    parts = [
        *svg.y_axis([(y(v), f"{100 * v:g} %" if share else f"{v:g}") for v in marks], left, right),
        *svg.x_axis([(x(v), f"{v:,.0f}") for v in svg.ticks(min(steps), max(steps), whole=True)], bottom, bottom + 4),
        svg.mark("path", f"c-{series} curve", d=f"M{path}"),
        svg.dot(f"c-{series}", x(steps[-1]), y(values[-1]), 3),
    ]
    return svg.figure(svg.WIDTH, 150, title, parts)


def _strips(
    rows: Sequence[Row], title: str, high: int, marks: Marks, strip: Callable[[Row, float], list[str]]
) -> Markup:
    """A strip `high` units high for each row, with its name at the left, above one axis; strip(row, middle) draws."""
    bottom = _TOP + high * len(rows)
    parts = [*svg.x_axis(marks, _TOP, bottom + 4)]
    for number, row in enumerate(rows):
        middle = _TOP + high * (number + 0.5)
        parts += [svg.text("name", _LEFT - 10, middle + 4, label(row["checkpoint"]), "end"), *strip(row, middle)]
    return svg.figure(svg.WIDTH, bottom + 26, title, parts)
