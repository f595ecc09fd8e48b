"""Marks, axes and figures of charts as inline SVG; places are in a figure's own units, y grows downwards.

Colours come from the classes `c-NAME` of page.html, so that they follow light and dark. Most figures are WIDTH units
wide: a phone shows one across, a desktop puts several side by side, and text keeps its size.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

from markupsafe import Markup

WIDTH = 340

Scale = Callable[[float], float]


def mark(tag: str, css: str, tip: str = "", **at: float | str) -> str:
    """One element with its attributes; `tip` is shown under the pointer."""
    places = "".join(f' {k}="{v if isinstance(v, str) else format(v, ".1f")}"' for k, v in at.items())
    return f'<{tag} class="{escape(css)}"{places}>{_title(tip) if tip else ""}</{tag}>'


def line(css: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """A line from one point to another."""
    return mark("line", css, x1=x1, y1=y1, x2=x2, y2=y2)


def bar(css: str, x: float, y: float, width: float, height: float, tip: str) -> str:
    """A filled rectangle."""
    return mark("rect", f"{css} bar", tip, x=x, y=y, width=width, height=height)


def dot(css: str, x: float, y: float, radius: float) -> str:
    """A filled circle."""
    return mark("circle", f"{css} dot", cx=x, cy=y, r=radius)


def text(css: str, x: float, y: float, words: str, anchor: str) -> str:
    """Words that start, end or have their middle at x; y is their base line."""
    return f'<text class="{escape(css)}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def group(css: str, tip: str, *parts: str) -> str:
    """Marks that share a class and a tip."""
    return f'<g class="{escape(css)}">{_title(tip)}{"".join(parts)}</g>'


def x_axis(marks: Iterable[tuple[float, str]], top: float, bottom: float) -> Iterator[str]:
    """An upright line for each (x, words), and the words below its foot."""
    for x, words in marks:
        yield line("grid", x, top, x, bottom)
        yield text("tick", x, bottom + 16, words, "middle")


def y_axis(marks: Iterable[tuple[float, str]], left: float, right: float) -> Iterator[str]:
    """A level line for each (y, words), and the words at its left."""
    for y, words in marks:
        yield line("grid", left, y, right, y)
        yield text("tick", left - 7, y + 4, words, "end")


def figure(width: float, height: float, title: str, parts: Iterable[str]) -> Markup:
    """The chart, as wide as the page lets it be; `title` is read out."""
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{_title(title)}{''.join(parts)}</svg>"
    )


def scale(domain: Sequence[float], span: Sequence[float]) -> Scale:
    """Where a value of `domain` lies on `span`; a domain without extent lies in its middle."""
    low, high = domain if domain[0] < domain[1] else (domain[0] - 1, domain[0] + 1)
    return lambda value: span[0] + (value - low) / (high - low) * (span[1] - span[0])


def ticks(low: float, high: float, count: int = 5, *, whole: bool = False) -> list[float]:
    """Round numbers inside [low, high], about `count` of them; `whole` ones for what is counted."""
    if high <= low:
        return [low]
    raw = max((high - low) / count, 1.0 if whole else 0.0)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if (size * m % 1 == 0 or not whole) and size * m >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def share_domain(intervals: Iterable[Sequence[float]]) -> tuple[float, float]:
    """Shares from the multiple of 10 % below all intervals to the one above; all of them without any interval."""
    ends = list(intervals) or [(0.0, 1.0)]
    low = math.floor(10 * min(end[0] for end in ends) + 1e-9) / 10
    high = math.ceil(10 * max(end[1] for end in ends) - 1e-9) / 10
    return (low, high) if high > low else (low, low + 0.1)


def _title(words: str) -> str:
    return f"<title>{escape(words)}</title>"
