"""The page of a run that has not ended, or has failed: what is there so far of evaluations, curves and samples."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.compare import charts
from components.compare.curves import SHOWN, thin
from components.lib.files import read_object
from components.lib.live import Progress
from components.lib.reporting import page, svg
from components.lib.reporting.wording import label
from components.lib.training.checkpoints import whole_rows
from components.lib.training.handed_on import PLATEAU

REFRESH_S = 5
SAMPLES = 3  # of each stage, the newest


def live_page(progress: Progress) -> str:
    """The page as HTML: it refreshes itself, from a file too, until the run has ended."""
    return page.render(
        Path(__file__).with_name("live.html"),
        progress=progress,
        headline=headline(progress),
        refresh_s=0 if progress.ending else REFRESH_S,
        written=f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}",
        scores=_scores([read_object(path) for path in progress.evaluations()]),
        curves={stage: _curves(stage, path) for stage, path in reversed(progress.curves.items())},
        samples={stage: _rows(path, "samples.jsonl")[-SAMPLES:][::-1] for stage, path in progress.curves.items()},
        alarms=[
            f"{label(stage)}, step {row['step']}: {row['message']}"
            for stage, path in progress.curves.items()
            for row in _rows(path, "alarms.jsonl")
        ],
    )


def headline(progress: Progress) -> str:
    """Where the run is, or how it ended, in one sentence."""
    if progress.ending == "failed":
        return f"Failed: {progress.sentence}"
    if progress.ending:
        return f"Ended: {progress.sentence}"
    if not progress.step:
        return "Not finished: the next step is about to begin"
    if progress.position:
        at, of = progress.position
        return f"Not finished: {label(progress.step)} is at step {at:,} of {of:,}"
    return f"Not finished: {label(progress.step)} is running"


def _scores(summaries: list[Mapping[str, Any]]) -> dict[str, Markup]:
    """Protocol -> how many each checkpoint so far answers right on the evaluation problems, with intervals."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        for row in summary["results"]:
            if row["split"] == "evaluation":
                rows.setdefault(row["protocol"], []).append({"checkpoint": summary["checkpoint"], **row})
    domain = svg.share_domain(row["interval"] for group in rows.values() for row in group)
    return {name: charts.intervals(group, f"accuracy, {name}", domain) for name, group in rows.items()}


def _curves(stage: str, path: Path) -> dict[str, Markup]:
    steps = [*_rows(path, "curves.jsonl"), *({**row, "plateau": row["accuracy"]} for row in _rows(path, PLATEAU))]
    drawn = thin(steps)
    return {
        title: charts.curve(drawn[name], f"{label(stage)}: {title}", stage, share)
        for name, (title, share) in SHOWN.items()
        if name in drawn
    }


def _rows(path: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a file that grows, none if it is not there."""
    return whole_rows(path / name) if (path / name).exists() else []
