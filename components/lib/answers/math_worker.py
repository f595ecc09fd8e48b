"""The process that compares answers of the kind `math` by math-verify; `math_process` starts it and may end it.

A line of JSON in is a question, as [gold, answer], a line out is true, false, or null where the time ran out.
math-verify's own limits are alarms of whole seconds; here the CPU time of one question is bounded, and so is the
memory.
"""

import contextlib
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

CPU_LIMIT_S = 0.5
MEMORY = 2 << 30
DIGITS = 100
"""To which sympy evaluates where it finds no symbolic proof: no answer has so many, so a rounded one is not equal."""


class OutOfTime(BaseException):
    """No Exception, which sympy and math-verify would catch."""


def serve(verdict: Callable[..., bool], load: Callable[[], None]) -> None:
    """Answer questions from standard input by `verdict` until it ends; before the first one's time runs, `load`."""
    sys.setrecursionlimit(2_000)
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers, out = sys.stdin, os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    load()
    signal.signal(signal.SIGPROF, _raise)
    print("ready", file=out, flush=True)
    for line in answers:
        print(json.dumps(_timed(verdict, json.loads(line))), file=out, flush=True)


def _raise(_number: int, _frame: Any) -> None:
    raise OutOfTime


def _timed(verdict: Callable[..., bool], question: Sequence[str]) -> bool | None:
    """Answer within the limit; the alarm comes again, should something have swallowed it."""
    answer: bool | None = None
    with contextlib.suppress(OutOfTime):
        try:
            signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S, 0.02)
            answer = verdict(*question)
        except OutOfTime:
            answer = None
        except Exception:  # whatever sympy stumbles over is no right answer
            answer = False
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return answer


def _equal(gold: str, answer: str) -> bool:
    from components.lib.answers.math_rules import equal

    return equal(gold, answer, _same)


def _load() -> None:
    """Load what is loaded lazily."""
    for answer in ("x^{2}+2x+1", "\\frac{1}{2}x"):
        _same("(x+1)(x+1)", answer)


def _same(gold: str, answer: str, factor: str = "") -> bool:
    """Tell whether math-verify finds two equal, or sympy their quotient a number that is `positive` or `nonzero`."""
    from math_verify import verify

    one, other = _parsed(gold), _parsed(answer)
    if not one or not other:
        return False
    if factor:
        quotient = (one[0] / other[0]).simplify()
        return bool(quotient.is_positive if factor == "positive" else quotient.is_number and quotient.is_nonzero)
    return not _refuted(one[0], other[0]) and bool(
        verify(one, other, float_rounding=DIGITS, numeric_precision=DIGITS, timeout_seconds=None, raise_on_error=False)
    )


def _refuted(one: Any, other: Any) -> bool:
    """Tell whether two expressions have different values at one point: quick, where a proof takes its time."""
    try:
        difference = one - other
        point = {symbol: (3 + 2 * place) / 7 for place, symbol in enumerate(sorted(difference.free_symbols, key=str))}
        return abs(complex(difference.evalf(15, subs=point))) > 1e-6
    except (ArithmeticError, TypeError, ValueError, AttributeError):
        return False  # no number: let math-verify say


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Any:
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    plain = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none")
    config = LatexExtractionConfig(boxed_match_priority=-1, normalization_config=plain)
    return parse(f"${text}$", [config], fallback_mode="no_fallback", parsing_timeout=None)  # type: ignore[arg-type]


if __name__ == "__main__":
    serve(_equal, _load)
