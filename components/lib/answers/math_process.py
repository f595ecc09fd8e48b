"""Answers of the kind `math`: settled at once where text or number decide, else by a process that can be ended.

One such process per process that asks; it starts with the first question, in about a second, and ends with its parent.
The rules of lm-eval have another one (`lm_eval_math`), with the same limits.
"""

import os
import time
from functools import lru_cache

from components.lib.answers.helper import Helper, NotStarted, Silent
from components.lib.answers.math_rules import readable
from components.lib.answers.math_text import LONGEST, notation, number, squeezed

LIMIT_S = 2.0
"""Wall time after which a question is given up and its process ended; its CPU time ends sooner (`math_worker`)."""


class OutOfTime(Exception):
    """A question took too long, or the batch's time was over before it was asked."""


def equal(gold: str, answer: str, deadline: float | None = None) -> bool:
    """Tell whether two answers are mathematically the same; OutOfTime where no verdict came in time.

    `deadline` is a `time.monotonic()` of the whole batch. Whatever the texts are, nothing else is raised but OSError
    where no process can be started.
    """
    settled = _settled(gold, answer)
    return _asked(gold, answer, deadline) if settled is None else settled


@lru_cache(maxsize=32_768)
def _settled(gold: str, answer: str) -> bool | None:
    """Return the verdict where the texts or two plain numbers decide, else None."""
    if gold.strip() == answer.strip():
        return True
    if len(answer) > 4 * LONGEST:
        return False
    one, other = notation(gold), notation(answer)
    if squeezed(one) == squeezed(other):
        return True
    if len(other) > LONGEST or not readable(other, one):
        return False
    value = number(one)
    if value is not None and (said := number(other)) is not None:
        return value == said
    return None


_verdicts: dict[tuple[str, str], bool | None] = {}


def _asked(gold: str, answer: str, deadline: float | None) -> bool:
    """Ask the process, once for each pair."""
    key = (gold, answer)
    if key not in _verdicts:
        if deadline is not None and time.monotonic() >= deadline:
            raise OutOfTime
        if len(_verdicts) >= 32_768:
            _verdicts.clear()
        _verdicts[key] = ask("components.lib.answers.math_worker", gold, answer)
    verdict = _verdicts[key]
    if verdict is None:
        raise OutOfTime
    return verdict


def ask(module: str, *question: str) -> bool | None:
    """Return the verdict of the process that `module` is, None where there is none in time: it is then ended."""
    worker = _workers.get(module)
    if worker is None or worker.owner != os.getpid():  # a fork must not share its parent's pipes
        worker = _workers[module] = Helper(module, os.environ)
    try:
        return worker.ask(list(question), LIMIT_S)
    except Silent:
        return None
    except NotStarted as error:
        raise OSError(
            f"the process that compares mathematics did not start; is math-verify installed? {error}"
        ) from None


_workers: dict[str, Helper] = {}


def end() -> None:
    """End this process's workers, if it has any."""
    for worker in _workers.values():
        if worker.owner == os.getpid():
            worker.end()
