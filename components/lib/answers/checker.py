"""A user's own checker: `check(completion, row)` of a file, run in a process that can be ended.

The code is known by the first 16 digits of its hash, which the rows have; `install` makes it known to this process.
check() gets the completion as the model wrote it, with its opening <think>, and the source's own row with `question`
and `gold` as standardised on top. It returns True or False, a reward from 0 to 1, or a dict with such a `score` and, if
it likes, `right` and `answer`. Right means a score of at least the module's RIGHT (1.0 without one).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from components.lib.answers.helper import Helper, NotStarted, Silent
from components.lib.files import write_text
from components.lib.recipe import checkers
from components.lib.recipe.schema import CHECKER

LIMIT_S = 10.0
"""Seconds for one answer; after them its process is ended and the answer is wrong."""
FAILED_SHARE = 0.1
"""Of the answers of a step, at least FAILED_AFTER, on which a checker may fail."""
FAILED_AFTER = 20
_KEPT = 32_768  # verdicts: reward and form of a completion are asked for apart


class Verdict(NamedTuple):
    """What check() said: the score from 0 to 1, whether that is right, the answer it read, and why it failed if so."""

    score: float
    right: bool
    answer: str | None
    failure: str  # a traceback, or what the process said at its end; empty if check() returned


def install_codes(codes: Mapping[str, str]) -> dict[str, str]:
    """Make the checkers of a recipe or plan known (`answers` -> packed code); returns `answers` -> short hash."""
    known = {}
    for answers, text in codes.items():
        code = checkers.unpacked(text)
        known[answers] = checkers.short_hash(code)
        _known.setdefault(known[answers], _Checker(Path(answers.removeprefix(CHECKER)).name, code))
    return known


def install(data: Path) -> None:
    """Make the checkers known whose code lies in `data`/checkers; `ValueError` if one is not what it was."""
    for path in sorted((data / checkers.FOLDER).glob("*.py")):
        code = path.read_bytes().decode("utf-8", errors="replace")
        if checkers.short_hash(code) != path.stem:
            raise ValueError(f"{path} has been changed since standardize wrote it; run standardize anew")
        _known.setdefault(path.stem, _Checker(path.name, code))


def write(codes: Mapping[str, str], data: Path) -> None:
    """Write the checkers of a plan to `data`/checkers, where `install` finds them."""
    for text in codes.values():
        code = checkers.unpacked(text)
        write_text(data / checkers.FOLDER / f"{checkers.short_hash(code)}.py", code)


def load(answers: str, text: str) -> None:
    """Load a checker in its process and end that; `ValueError` if it does not load. Its traceback is printed."""
    checker = _Checker(answers.removeprefix(CHECKER), checkers.unpacked(text))
    try:
        checker.helper().start()
    except NotStarted as error:
        raise checker.refused(error) from None
    finally:
        checker.end()


def judge(short: str, completion: str, row: Mapping[str, Any]) -> Verdict:
    """Ask the checker of that short hash, once for each completion of a row.

    An exception, a hang, a dead process or a wrong value is a failure of the row: its score is 0, and the first one is
    printed. `ValueError` if the checker is not known, does not load, or has failed on too many rows.
    """
    if short not in _known:
        raise ValueError(
            f"there is no checker {short}; standardize writes it to its folder {checkers.FOLDER}: run that anew"
        )
    return _known[short].judge(completion, row)


def counts() -> dict[str, float]:
    """How often the checkers of this process were asked and how often they failed, as numbers to log, if at all."""
    asked, failed = (sum(getattr(one, name) for one in _known.values()) for name in ("asked", "failed"))
    return {"checker_asked": float(asked), "checker_failed": float(failed)} if asked else {}


def end() -> None:
    """End the processes of all checkers, and forget these."""
    for checker in _known.values():
        checker.end()
    _known.clear()


class _Checker:
    """One checker: its process, its verdicts, and how often it was asked and failed."""

    def __init__(self, name: str, code: str) -> None:
        self.name, self.code = name, code
        self.asked, self.failed, self.first = 0, 0, ""
        self._verdicts: dict[bytes, Verdict] = {}
        self._helper: Helper | None = None

    def helper(self) -> Helper:
        """Its process: a fork must not share its parent's pipes."""
        if self._helper is None or self._helper.owner != os.getpid():
            given = {"name": self.name, "code": self.code, "limit_s": LIMIT_S}
            self._helper = Helper("components.lib.answers.checker_worker", os.environ, given, patience_s=1.0)
        return self._helper

    def judge(self, completion: str, row: Mapping[str, Any]) -> Verdict:
        """The verdict on a completion; see `judge`."""
        key = hashlib.sha256(json.dumps([completion, row], default=str).encode()).digest()
        if key not in self._verdicts:
            if len(self._verdicts) >= _KEPT:
                self._verdicts.clear()
            self._verdicts[key] = self._ask(completion, row)
        return self._verdicts[key]

    def _ask(self, completion: str, row: Mapping[str, Any]) -> Verdict:
        self.asked += 1
        try:
            said = self.helper().ask([completion, row], LIMIT_S + 1)
        except Silent as error:
            said = {"failure": _told(error)}
        except NotStarted as error:
            raise self.refused(error) from None
        verdict = Verdict(0.0, False, None, said["failure"]) if "failure" in said else Verdict(**said, failure="")
        if verdict.failure:
            self._count(verdict.failure)
        if self.asked >= FAILED_AFTER and self.failed > FAILED_SHARE * self.asked:
            raise ValueError(
                f"checker {self.name} failed on {self.failed} of {self.asked} answers, more than {FAILED_SHARE:.0%}; "
                f"the first time: {_last_line(self.first)}"
            )
        return verdict

    def _count(self, failure: str) -> None:
        self.failed += 1
        if not self.first:
            self.first = failure
            print(f"checker {self.name} failed on an answer, which counts as wrong:\n{failure}", flush=True)

    def refused(self, error: NotStarted) -> ValueError:
        """What to say of a checker that does not load."""
        said = _told(error)
        print(f"checker {self.name} does not load:\n{said}", flush=True)
        return ValueError(f"checker {self.name} does not load: {_last_line(said)}")

    def end(self) -> None:
        """End its process."""
        if self._helper and self._helper.owner == os.getpid():
            self._helper.end()


_known: dict[str, _Checker] = {}


def _told(error: Silent | NotStarted) -> str:
    """What a process that gave no answer said; where it was too late, the last line says so."""
    said = str(error)
    if said and not said.startswith("Timeout"):
        return said
    own = takewhile(lambda line: "checker_worker.py" not in line, said.splitlines()[1:])
    return "\n".join([*own, "it took too long"])


def _last_line(text: str) -> str:
    return text.splitlines()[-1].strip()
