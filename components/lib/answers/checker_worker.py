"""The process that runs a user's checker; `checker` starts it and may end it.

The first line in is {"name", "code", "limit_s"}; READY or a traceback comes back. Then each line is [completion, row],
and its answer {"score", "right", "answer"} or {"failure": text}. Where check() takes too long or crashes the
interpreter, faulthandler says where, on the same way, and the process ends.
"""

import contextlib
import faulthandler
import inspect
import json
import linecache
import os
import resource
import signal
import sys
import traceback
import types
from collections.abc import Callable
from reprlib import repr as short_repr
from typing import Any, TextIO

MEMORY = 8 << 30
LOAD_S = 100.0
LONGEST = 4_000  # characters of a traceback
ANSWER = 1_000  # and of an answer

Check = Callable[[str, dict[str, Any]], Any]


class WrongValue(ValueError):
    """What check() returned, or RIGHT, is not what it may be."""


def serve() -> None:
    """Answer questions from standard input until it ends."""
    with contextlib.suppress(ValueError):  # there is a lower limit already
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    questions, out = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what the checker prints must not be taken for an answer
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable(out)
    given = json.loads(questions.readline())
    faulthandler.dump_traceback_later(LOAD_S, exit=True, file=out)
    try:
        check, right = load(given["code"], given["name"])
    except BaseException as error:
        print(_told(error), file=out, flush=True)
        return
    faulthandler.cancel_dump_traceback_later()
    print("ready", file=out, flush=True)
    for line in questions:
        print(json.dumps(_asked(check, right, given["limit_s"], json.loads(line), out)), file=out, flush=True)
    os.killpg(0, signal.SIGKILL)  # with what check() has started


def load(code: str, name: str) -> tuple[Check, float]:
    """Run the code; returns its function `check` and its constant RIGHT, 1.0 without one."""
    module = types.ModuleType("checker")
    sys.modules["checker"] = module  # where dataclasses look
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)  # what a traceback shows
    exec(compile(code, name, "exec", dont_inherit=True), vars(module))
    check, right = module.check, getattr(module, "RIGHT", 1.0)
    if not callable(check):
        raise WrongValue(f"check is {short_repr(check)}, not a function check(completion, row)")
    try:
        inspect.signature(check).bind("", {})
    except TypeError as error:
        raise WrongValue(f"check(completion, row) cannot be called: {error}") from None
    if isinstance(right, bool) or not isinstance(right, int | float) or not 0 < right <= 1:
        raise WrongValue(f"RIGHT is {short_repr(right)}; it must be a number above 0 and at most 1")
    return check, float(right)


def _asked(check: Check, right: float, limit_s: float, question: Any, out: TextIO) -> dict[str, Any]:
    process = os.getpid()
    faulthandler.dump_traceback_later(limit_s, exit=True, file=out)
    try:
        return verdict(check(*question), right)
    except BaseException as error:  # of whatever kind, SystemExit too
        return {"failure": _told(error)}
    finally:
        if os.getpid() != process:  # a child that check() has made comes back as well
            os._exit(0)
        faulthandler.cancel_dump_traceback_later()


def verdict(returned: Any, right: float) -> dict[str, Any]:
    """What check() returned as {"score", "right", "answer"}; WrongValue if it may not return that.

    >>> verdict(0.5, 0.5)
    {'score': 0.5, 'right': True, 'answer': None}
    """
    returned = _plain(returned)
    given = returned if isinstance(returned, dict) else {"score": returned}
    score, is_right, answer = (_plain(given.get(name)) for name in ("score", "right", "answer"))
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        raise WrongValue(
            f"check returned {short_repr(returned)}; it must return True, False, a number from 0 to 1, or a dict with "
            "one of these as score"
        )
    if is_right is not None and not isinstance(is_right, bool):
        raise WrongValue(f"check returned the right {short_repr(is_right)}; it must be True or False")
    if answer is not None and not isinstance(answer, str | int | float):
        raise WrongValue(f"check returned the answer {short_repr(answer)}; it must be a text or a number")
    return {
        "score": float(score),
        "right": bool(score >= right) if is_right is None else is_right,
        "answer": None if answer is None else str(answer)[:ANSWER],
    }


def _plain(value: Any) -> Any:
    """A number of numpy or torch as Python's own."""
    return value.item() if hasattr(value, "item") else value


def _told(error: BaseException) -> str:
    """The traceback from the checker's own lines on."""
    inner = error.__traceback__
    while inner and inner.tb_frame.f_code.co_filename == __file__:
        inner = inner.tb_next
    text = "".join(traceback.format_exception(type(error), error, inner)).strip()
    return text if len(text) <= LONGEST else "... " + text[-LONGEST:]


if __name__ == "__main__":
    serve()
