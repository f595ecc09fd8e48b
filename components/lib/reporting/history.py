"""What a registry tells of its past: every run, what came of it, and which model was the champion when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.outcome import Outcome, ResultRow, read_all
from components.lib.reporting.table import lines, score_cells
from components.lib.reporting.wording import interval, moment, percent


@dataclass(frozen=True)
class Reign:
    """A champion: from when, and the run that made it, if the registry has it."""

    version: str
    run_id: str
    since: datetime
    run: Outcome | None

    def result(self, source: str = "") -> ResultRow | None:
        """`result_of` its run."""
        return result_of(self.run, source) if self.run else None


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
    known = {run.run_id: run for run in runs}
    entries = [*champion.get("former", []), champion] if champion else []
    reigns = [
        Reign(e["version"], e["run_id"], datetime.fromisoformat(e["promoted_at"]), known.get(e["run_id"]))
        for e in entries
    ]
    return History(store.url(""), runs, reigns, unread)


def result_of(run: Outcome, source: str = "") -> ResultRow | None:
    """The evaluation of a run's last checkpoint under its first protocol; None if it did not come so far.

    On all problems, or on those of one source alone; None too if the run was not asked several, this one among them.
    """
    found = [row for row in run.sources if row["source"] == source] if source else run.results
    rows = [row for row in found if row["protocol"] == found[0]["protocol"]]
    return rows[-1] if rows else None


def sources_of(history: History) -> list[str]:
    """The sources of evaluation problems in runs that had several, those of the newest run first."""
    return list(dict.fromkeys(row["source"] for run in reversed(history.runs) for row in run.sources))


def by_source(run: Outcome) -> str:
    """Percents of right answers of each source and their mean, of a run that had several; empty otherwise."""
    names = dict.fromkeys(row["source"] for row in run.sources)
    found = [f"{name} {percent(row['accuracy'])} %" for name in names if (row := result_of(run, name))]
    result = result_of(run)
    mean = result.get("macro") if result else None
    return ", ".join([*found, f"macro {percent(mean)} %"] if mean is not None else found)


def ending_of(run: Outcome) -> str:
    """How a run ended, with the step that failed."""
    return f"{run.ending} ({run.failed_step})" if run.failed_step else run.ending


def text_table(history: History) -> str:
    """The runs as lines of text, the champion and what it can do below."""
    sources = ["by source"] * bool(sources_of(history))
    head = ("ended", "run", "ending", "right", "accuracy", "interval", "new rows", "champion", *sources)
    rows = [_cells(run, [by_source(run)] * len(sources)) for run in history.runs]
    table = lines(f"lllrrrrl{'l' * len(sources)}", head, rows)
    return "\n".join([table, champion_sentence(history), *unread_sentence(history)])


def champion_sentence(history: History) -> str:
    """Who is the champion now, and since when."""
    if not history.reigns:
        return "No model has been promoted yet."
    last = history.reigns[-1]
    since = moment(last.since.isoformat())
    words = f"Champion number {len(history.reigns)}: {last.version} of run {last.run_id}, since {since} UTC"
    if result := last.result():
        words += f", {percent(result['accuracy'])} % right ({interval(result['interval'], ' to ')})"
    return f"{words}."


def unread_sentence(history: History) -> list[str]:
    """How many outcomes are not shown, if any."""
    return [f"Not shown: {history.unread} that this version of the code cannot read."] if history.unread else []


def new_rows(run: Outcome) -> str:
    """How many rows a run had that the champion of its time did not; empty if it did not come so far."""
    numbers = run.numbers.get("compare", {})
    return f"{numbers['new_rows']:,.0f}" if "new_rows" in numbers else ""


def _cells(run: Outcome, sources: Sequence[str]) -> tuple[str, ...]:
    result = result_of(run)
    scores = score_cells(result) if result else ("", "", "")
    return moment(run.ended), run.run_id, ending_of(run), *scores, new_rows(run), run.champion, *sources
