"""The report as one HTML file without scripts or links to anything outside it, and in Markdown without pictures."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.compare import charts, story
from components.compare.curves import SHOWN
from components.compare.results import OUTCOMES
from components.lib.reporting import page, svg
from components.lib.reporting.wording import about, label


def html(results: Mapping[str, Any]) -> str:
    """Render what results.json holds with report.html."""
    each = _evaluated(results)
    # All problems together under each protocol, then the problems of each source under the first.
    shown = story.groups([row for row in each if "source" not in row or row["protocol"] == each[0]["protocol"]])
    domain = svg.share_domain(row["interval"] for rows in shown.values() for row in rows)  # one, so that charts compare

    # The three kinds of one title make a row of the page.
    drawn = {
        f"{title}: {name}": draw(rows, f"{name}, {title}")
        for title, rows in shown.items()
        for name, draw in (
            ("accuracy", partial(charts.intervals, domain=domain)), ("outcomes", charts.stacks),
            ("lengths", charts.distributions),
        )
    }  # fmt: skip

    return _render(
        "report.html",
        results,
        protocols=story.protocols(results),
        of_protocol=story.of_protocol,
        groups=story.groups,
        outcomes=OUTCOMES,
        charts=drawn,
        curve_charts={stage: _curves(stage, columns) for stage, columns in results["curves"].items()},
    )


def markdown(results: Mapping[str, Any]) -> str:
    """Render what results.json holds with report.md, for a model card or a pull request: the same numbers."""
    return _render("report.md", results)


def _render(name: str, results: Mapping[str, Any], **more: Any) -> str:
    each = _evaluated(results)
    return page.render(
        Path(__file__).with_name(name),
        results=results,
        headline=story.headline(results),
        findings=story.findings(results),
        decomposition=story.decomposition(results),
        sampled=list(results["results"][0]["sampled"]),
        about=about,
        each=each,
        lm_eval={
            name.removeprefix("lm_eval_").replace("_", " "): name for row in each for name in row if "lm_eval" in name
        },
        several=bool(results["sources"]),
        **more,
    )


def _evaluated(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the evaluation problems: all together, then each source by itself where there are several."""
    return [*results["results"], *(row for row in results["sources"] if row["split"] == "evaluation")]


def _curves(stage: str, columns: Mapping[str, Any]) -> dict[str, Markup]:
    return {
        title: charts.curve(columns[name], f"{label(stage)}: {title}", stage, share)
        for name, (title, share) in SHOWN.items()
        if name in columns
    }
