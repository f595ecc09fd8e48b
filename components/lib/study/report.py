"""The study's report: study.json, study.html without scripts or links to anything outside it, and study.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.lib.files import write_json, write_text
from components.lib.reporting import page, svg
from components.lib.reporting.wording import percent
from components.lib.study import story

COLOURS = 6  # of the classes c-0 ... in study.html
_LEFT, _ROW = 92, 34


def write(found: Mapping[str, Any], out: Path) -> None:
    """Write computed results and their pages to the directory `out`."""
    write_json(out / "study.json", found)
    write_text(out / "study.html", _render("study.html", found, strips=_strips(found), curves=_pictures(found)))
    write_text(out / "study.md", _render("study.md", found))


def _render(name: str, found: Mapping[str, Any], **more: Any) -> str:
    return page.render(
        Path(__file__).with_name(name),
        found=found,
        headline=story.headline(found),
        sentences=story.sentences(found),
        settles=story.settles,
        shift_of=story.shift_of,
        methods=story.METHODS,
        gains={(row["after"], row["protocol"]): row for row in reversed(found["comparisons"])},
        first=found["accuracies"][0]["protocol"],
        **more,
    )


def _colours(found: Mapping[str, Any]) -> dict[str, int]:
    """Variant -> the number of its colour."""
    names = dict.fromkeys(row["variant"] for row in found["accuracies"])
    return {name: number % COLOURS for number, name in enumerate(names)}


def _strips(found: Mapping[str, Any]) -> dict[str, Markup]:
    """Protocol -> its variants' accuracies: a small dot for each seed, a large one for the mean, over its interval."""
    rows, colours = found["accuracies"], _colours(found)
    domain = svg.share_domain(row["interval"] for row in rows)
    protocols = dict.fromkeys(row["protocol"] for row in rows)
    return {name: _strip([row for row in rows if row["protocol"] == name], domain, colours) for name in protocols}


def _strip(rows: Sequence[Mapping[str, Any]], domain: tuple[float, float], colours: Mapping[str, int]) -> Markup:
    x, bottom = svg.scale(domain, (_LEFT, svg.WIDTH - 54)), 6 + _ROW * len(rows)
    parts = [*svg.x_axis([(x(v), f"{100 * v:g} %") for v in svg.ticks(*domain)], 6, bottom)]
    for number, row in enumerate(rows):
        y, series = 6 + _ROW * (number + 0.5), f"c-{colours[row['variant']]}"
        tip = ", ".join(f"seed {seed}: {percent(value)} %" for seed, value in row["seeds"].items())
        seeds = [svg.dot(f"{series} seed", x(value), y - 9, 2.5) for value in row["seeds"].values()]
        whisker = svg.line(f"{series} whisker", x(row["interval"][0]), y, x(row["interval"][1]), y)
        parts += [
            svg.text("name", _LEFT - 8, y + 4, row["variant"], "end"),
            svg.group(series, tip, whisker, *seeds, svg.dot(series, x(row["mean"]), y, 5.5)),
            svg.text("value", svg.WIDTH - 2, y + 4, f"{percent(row['mean'])} %", "end"),
        ]
    return svg.figure(svg.WIDTH, bottom + 22, "accuracy of each seed, mean and interval", parts)


def _pictures(found: Mapping[str, Any]) -> dict[str, Markup]:
    """Title -> the learning curves of all seeds of a variant in one picture; those of one kind have one scale."""
    colours, drawn = _colours(found), {}
    for curve in found["curves"]:
        kin = [other for other in found["curves"] if other["stage"] == curve["stage"]]
        values = [value for other in kin for points in other["seeds"].values() for _, value in points]
        title = f"{curve['variant']}: {curve['title']}"
        if not any(curve["seeds"].values()):  # a run's results leave out what is zero throughout
            drawn[f"{title}, zero throughout"] = Markup("")
            continue
        domain = (0.0 if curve["share"] else min(values), max(*values, 0.01))
        drawn[title] = _picture(curve, domain, f"c-{colours[curve['variant']]}", title)
    return drawn


def _picture(curve: Mapping[str, Any], domain: tuple[float, float], series: str, title: str) -> Markup:
    left, right, top, bottom = 46, svg.WIDTH - 10, 10, 150
    steps = [step for points in curve["seeds"].values() for step, _ in points]
    x, y = svg.scale((min(steps), max(steps)), (left, right)), svg.scale(domain, (bottom, top))
    marks = [(y(v), f"{100 * v:g} %" if curve["share"] else f"{v:g}") for v in svg.ticks(*domain, 4)]
    parts = [
        *svg.y_axis(marks, left, right),
        *svg.x_axis([(x(v), f"{v:,.0f}") for v in svg.ticks(min(steps), max(steps), whole=True)], bottom, bottom + 4),
    ]
    for seed, points in ((seed, points) for seed, points in curve["seeds"].items() if points):
        path = "L".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(svg.mark("path", f"{series} curve", f"seed {seed}", d=f"M{path}"))
    return svg.figure(svg.WIDTH, 174, title, parts)
