"""What a registry tells of its past: every run, what came of it, and which model was the champion when."""

from dataclasses import dataclass
from datetime import datetime

from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.outcome import Outcome, ResultRow, read_all
from components.lib.reporting.table import lines, score_cells
from components.lib.reporting.wording import interval, moment, percent


@dataclass(frozen=True)
class Reign:
    """A champion: from when, and the results of the run that made it, if the registry has them."""

    version: str
    run_id: str
    since: datetime
    result: ResultRow | None


@dataclass(frozen=True)
class History:
    """Runs in the order in which they began, champions in the order in which they were promoted."""

    place: str
    runs: list[Outcome]
    reigns: list[Reign]
    unread: int  # outcomes that this version of the code cannot read


def read_history(store: Store) -> History:
    """All runs and champions of a registry."""
    runs, unread = read_all(store)
    champion = read_champion(store)
    if not runs and not champion:
        raise ValueError(f"registry {store.url('')} holds no runs; give the one of your runs with --registry")
    known = {run.run_id: result_of(run) for run in runs}
    entries = [*champion.get("former", []), champion] if champion else []
    reigns = [
        Reign(e["version"], e["run_id"], datetime.fromisoformat(e["promoted_at"]), known.get(e["run_id"]))
        for e in entries
    ]
    return History(store.url(""), runs, reigns, unread)


def result_of(run: Outcome) -> ResultRow | None:
    """The evaluation of a run's last checkpoint under its first protocol; None if it did not come so far."""
    rows = [row for row in run.results if row["protocol"] == run.results[0]["protocol"]]
    return rows[-1] if rows else None


def ending_of(run: Outcome) -> str:
    """How a run ended, with the step that failed."""
    return f"{run.ending} ({run.failed_step})" if run.failed_step else run.ending


def text_table(history: History) -> str:
    """The runs as lines of text, the champion and what it can do below."""
    head = ("ended", "run", "ending", "right", "accuracy", "interval", "new rows", "champion")
    table = lines("lllrrrrl", head, [_cells(run) for run in history.runs])
    return "\n".join([table, champion_sentence(history), *unread_sentence(history)])


def champion_sentence(history: History) -> str:
    """Who is the champion now, and since when."""
    if not history.reigns:
        return "No model has been promoted yet."
    last = history.reigns[-1]
    since = moment(last.since.isoformat())
    words = f"Champion number {len(history.reigns)}: {last.version} of run {last.run_id}, since {since} UTC"
    if last.result:
        words += f", {percent(last.result['accuracy'])} % right ({interval(last.result['interval'], ' to ')})"
    return f"{words}."


def unread_sentence(history: History) -> list[str]:
    """How many outcomes are not shown, if any."""
    return [f"Not shown: {history.unread} that this version of the code cannot read."] if history.unread else []


def new_rows(run: Outcome) -> str:
    """How many rows a run had that the champion of its time did not; empty if it did not come so far."""
    numbers = run.numbers.get("compare", {})
    return f"{numbers['new_rows']:,.0f}" if "new_rows" in numbers else ""


def _cells(run: Outcome) -> tuple[str, ...]:
    result = result_of(run)
    scores = score_cells(result) if result else ("", "", "")
    return moment(run.ended), run.run_id, ending_of(run), *scores, new_rows(run), run.champion
