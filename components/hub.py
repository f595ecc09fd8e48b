"""Asking the Hub again when it is busy or cut off: huggingface_hub asks once for most things."""

from collections.abc import Callable
from typing import TypeVar

import httpx2
from huggingface_hub.errors import HfHubHTTPError

from components.retry import Transient, retry

T = TypeVar("T")

TRANSIENT = (408, 429, 500, 502, 503, 504)
REFUSED = (401, 403)


def retried(call: Callable[[], T], what: str) -> T:
    """Call with retries; the last error is raised as it is."""
    return retry(call, what, _judge)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error, None if the Hub did not answer."""
    return _status(error)[0]


def _judge(error: Exception) -> Transient | None:
    status, wait_s = _status(error)
    if status in TRANSIENT:
        return Transient(f"HTTP {status}", wait_s)
    cut = next((part for part in _chain(error) if isinstance(part, httpx2.TransportError)), None)
    return Transient(repr(cut)) if cut and status is None else None


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and what caused it: huggingface_hub wraps a failed upload in a RuntimeError."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__
    return chain


def _status(error: BaseException) -> tuple[int | None, float | None]:
    """The HTTP status of an error and the seconds that its Retry-After asks for."""
    for part in _chain(error):
        if isinstance(part, HfHubHTTPError) and part.response is not None:
            after = part.response.headers.get("Retry-After", "")
            return part.response.status_code, float(after) if after.isdigit() else None
    return None, None
