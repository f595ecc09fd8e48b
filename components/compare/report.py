"""The report as one HTML file without scripts or links to anything outside it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.compare import story
from components.compare.curves import SHOWN
from components.compare.results import OUTCOMES
from components.lib.reporting import svg, wording

_TEMPLATES = Path(__file__).parent


def html(results: Mapping[str, Any]) -> str:
    """Render what results.json holds with report.html."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    for name in ("label", "percent", "points", "interval", "points_interval", "p_text", "clip", "model_name"):
        environment.filters[name] = getattr(wording, name)
    return environment.get_template("report.html").render(
        results=results,
        headline=story.headline(results),
        findings=story.findings(results),
        protocols=story.protocols(results),
        of_protocol=story.of_protocol,
        decomposition=story.decomposition(results),
        outcomes=OUTCOMES,
        accuracy_charts=_charts(results, "accuracy", _accuracy(results)),
        outcome_charts=_charts(results, "outcomes", svg.stacks),
        length_charts=_charts(results, "lengths", svg.distributions),
        curve_charts={stage: _curves(stage, columns) for stage, columns in results["curves"].items()},
        sampled=_sampled_columns(results),
    )


Draw = Callable[[Sequence[Mapping[str, Any]], str], str]


def _accuracy(results: Mapping[str, Any]) -> Draw:
    """Draws accuracies over the same range for every protocol, so that the charts can be compared."""
    domain = svg.domain([row["interval"] for row in results["results"]])
    return lambda rows, title: svg.intervals(rows, title, domain)


def _charts(results: Mapping[str, Any], name: str, draw: Draw) -> list[tuple[str, Markup]]:
    """One chart per protocol, with the protocol's name."""
    rows = results["results"]
    return [(p, Markup(draw(story.of_protocol(rows, p), f"{name}, {p}"))) for p in story.protocols(results)]


def _curves(stage: str, columns: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    return [
        (
            SHOWN[name][0],
            Markup(svg.line(columns[name], f"{wording.label(stage)}: {SHOWN[name][0]}", stage, SHOWN[name][1])),
        )
        for name in SHOWN
        if name in columns
    ]


def _sampled_columns(results: Mapping[str, Any]) -> list[str]:
    return list(results["results"][0]["sampled"])
