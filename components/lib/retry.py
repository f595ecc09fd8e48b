"""Trying again what failed for a reason that passes: a busy server, a cut connection."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

ATTEMPTS = 6
FIRST_WAIT_S = 1.0  # doubled after each attempt, unless the server says how long to wait: 31 s in all
LONGEST_WAIT_S = 300.0


@dataclass(frozen=True)
class Transient:
    """Why an error may pass, and the seconds that the server asks to wait, if it does."""

    reason: str
    wait_s: float | None = None


def retry(call: Callable[[], T], what: str, judge: Callable[[Exception], Transient | None]) -> T:
    """Call until it works, `judge` finds an error that does not pass (None), or ATTEMPTS are used up.

    Each wait is printed with `what` and the reason; the last error is raised as it is.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except Exception as error:
            transient = judge(error)
            if transient is None:
                raise
            asked = FIRST_WAIT_S * 2 ** (attempt - 1) if transient.wait_s is None else transient.wait_s
            wait_s = min(asked, LONGEST_WAIT_S)
            print(f"{what}: {transient.reason}; try {attempt + 1} of {ATTEMPTS} in {wait_s:.0f} s", flush=True)
            time.sleep(wait_s)
    return call()
