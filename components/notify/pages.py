"""What the exit handler shows on the run's own page: the report, and how the run ended, with the champion's figures."""

from pathlib import Path

from components.lib.files import write_text
from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.outcome import Outcome, outcome_of
from components.lib.registry.store import open_store
from components.lib.reporting.messages import lines, title
from components.lib.reporting.page import render, warned
from components.lib.reporting.wording import moment

HERE = Path(__file__).parent


def write_pages(told: Outcome, registry: str, *, report: Path, outcome: Path) -> None:
    """Write the report that compare has made, where it has, else how the run ended as HTML; and that as Markdown."""
    store = open_store(registry)
    found = {
        "title": title(told), "ending": told.ending, "lines": lines(told), "champion": champion_lines(store, told),
        "step": told.failed_step or "", "log": told.log, "record": store.url(f"runs/{told.run_id}"),
    }  # fmt: skip
    write_text(outcome, render(HERE / "outcome.md", **found))
    made = store.read(f"runs/{told.run_id}/results/report.html")
    write_text(report, warned(made.decode(), told.warnings) if made else render(HERE / "outcome.html", **found))


def champion_lines(store: Store, told: Outcome) -> list[str]:
    """Which model is the champion, and its figures; empty without one."""
    champion = read_champion(store)
    if not champion:
        return []
    run_id = champion["run_id"]
    since = f", promoted {moment(champion['promoted_at'])}" if "promoted_at" in champion else ""
    found = [f"Version {champion['version']}{since} by run {run_id}: {champion['location']}."]
    made = told if run_id == told.run_id else outcome_of(store.read_json(f"runs/{run_id}/outcome.json"))
    return [*found, *lines(made)[1:]] if made and made is not told else found
