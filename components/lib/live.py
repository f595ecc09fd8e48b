"""What a run on this machine shows while it goes on: one page, written anew as its steps get on."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.lib.files import write_text
from components.lib.reporting.page import warned
from components.lib.training.checkpoints import CURVES_ARE

PACE_S = 2.0  # at least between two pages
LINES = 12  # of the running step
_STEP = re.compile(r"step (\d+)/(\d+)")


@dataclass
class Progress:
    """How far a run is, as its steps' output tells it."""

    run_id: str
    recipe: str
    artifacts: Path  # where KFP makes a folder for each run
    step: str = ""  # the running one, as its record calls it
    position: tuple[int, int] | None = None  # of a training: its step, of how many
    lines: list[str] = field(default_factory=list)  # the last ones of the step
    done: list[tuple[str, bool, float]] = field(default_factory=list)  # step, whether it ended well, seconds
    curves: dict[str, Path] = field(default_factory=dict)  # stage -> where its curves grow
    changes: int = 0
    ending: str = ""  # one of the outcome's, empty while the run goes on
    sentence: str = ""  # and what it says
    report: bool = False  # whether there is a whole one, of a run that failed later

    def __post_init__(self) -> None:
        self.before = set(self.artifacts.glob("*"))

    def begin(self, task: str) -> None:
        """A step begins, by the name that KFP has for it; here, a checkpoint is evaluated when it has been trained."""
        checkpoint = list(self.curves)[-1] if self.curves else "base"
        self.step = f"evaluate-{checkpoint}" if task.startswith("evaluate") else task
        self.position, self.lines = None, []
        self.changes += 1

    def say(self, line: str) -> None:
        """The step has printed a line."""
        stage, told, place = line.partition(CURVES_ARE)
        if told:
            self.curves[stage] = Path(place)
        if found := _STEP.match(line):
            self.position = int(found[1]), int(found[2])
        self.lines = [*self.lines, line][-LINES:]
        self.changes += 1

    def end(self, good: bool, seconds: float) -> None:
        """The step has ended."""
        self.done.append((self.step, good, seconds))
        self.step, self.position = "", None
        self.changes += 1

    def evaluations(self) -> list[Path]:
        """The summary.json of each checkpoint that this run has evaluated, the oldest first."""
        made = [folder for folder in self.artifacts.glob("*") if folder not in self.before]
        found = [path for folder in made for path in folder.glob("evaluate*/items/summary.json")]
        return sorted(found, key=lambda path: path.stat().st_mtime)


class Live:
    """The page of a run at `path`, made of its progress by `page`; it is no reason for a run to end."""

    def __init__(self, path: Path, progress: Progress, page: Callable[[Progress], str]) -> None:
        self.path, self.progress, self.page = path, progress, page

    def write(self) -> None:
        """Write it, whole or not at all: what cannot be read or written now is left for the next time."""
        with contextlib.suppress(OSError, ValueError):
            write_text(self.path, self.page(self.progress))

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Write it every `PACE_S` in which the progress has changed, in a thread beside the block."""
        over = threading.Event()

        def follow() -> None:
            written = -1
            while not over.wait(PACE_S):
                if written != (now := self.progress.changes):
                    self.write()
                    written = now

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def end(
        self, ending: str, sentence: str, log: list[str], report: Path, made: bool, warnings: Sequence[str] = ()
    ) -> None:
        """Write the last one, which no longer refreshes itself.

        `sentence` says how the run ended, `log` has the last lines of a step that failed, `report` is the newest
        whole report of this output, `made` whether this very run made it. That is the page unless the run failed, or
        nothing was ever reported here. `warnings` are added to the report.
        """
        self.progress.ending, self.progress.sentence, self.progress.report = ending, sentence, made
        self.progress.lines = log[-LINES:]
        if ending != "failed" and report.exists():
            for path in (report.with_name("data.html"), report):  # the report has a link to the other
                text = path.read_text(encoding="utf-8")
                write_text(self.path.with_name(path.name), warned(text, warnings) if path == report else text)
        else:
            self.write()
