"""Trying again what failed for a reason that passes: a busy server, a cut connection."""

import functools
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

T = TypeVar("T")

ATTEMPTS = 6
FIRST_WAIT_S = 1.0  # doubled after each attempt, unless the server says how long to wait: 31 s in all
LONGEST_WAIT_S = 300.0
PROXY_S = 5.0  # within which a proxy takes a connection
_PORTS = {"https": 443, "socks5": 1080, "socks5h": 1080}


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


def judge_http(error: Exception) -> Transient | None:
    """Whether an error of httpx2 or huggingface_hub may pass: the server is busy, or the connection broke.

    A name that nobody knows, a certificate that nobody trusts and a proxy that refuses do not.
    """
    import httpx2

    status, wait_s = status_of(error)
    if status is not None:
        return Transient(f"HTTP {status}", wait_s) if status in (408, 429) or status >= 500 else None
    for part in causes(error):
        if isinstance(part, httpx2.UnsupportedProtocol | socket.gaierror | ssl.SSLCertVerificationError):
            return None
        if isinstance(part, httpx2.ProxyError) and not str(part).startswith("5"):  # a proxy's own status
            return None
    return next((Transient(repr(part)) for part in causes(error) if isinstance(part, httpx2.TransportError)), None)


@functools.cache
def refuse_dead_proxy(url: str) -> None:
    """`ValueError` if the proxy that the environment names for `url` takes no connection; asked once per process."""
    parts, proxies = urlsplit(url), getproxies()
    scheme = next((name for name in (parts.scheme, "all") if proxies.get(name)), "")
    if not scheme or proxy_bypass(parts.hostname or ""):
        return
    address = proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}"
    names = f"{scheme}_proxy", f"{scheme}_proxy".upper()
    variable = next((name for name in names if name in os.environ), names[0])
    try:
        proxy = urlsplit(address)
        where = proxy.hostname or "", proxy.port or _PORTS.get(proxy.scheme, 80)
    except ValueError:
        raise ValueError(f"{variable} is no address of a proxy; write http://HOST:PORT, or unset it") from None
    try:
        socket.create_connection(where, PROXY_S).close()
    except OSError as error:
        told = f"the proxy {where[0]}:{where[1]} that {variable} names does not answer ({error})"
        raise ValueError(f"{told}; correct or unset {variable}") from None


def status_of(error: BaseException) -> tuple[int | None, float | None]:
    """The HTTP status of an error and the seconds that its Retry-After asks for; None if the server did not answer."""
    for part in causes(error):
        if (response := getattr(part, "response", None)) is not None:
            after = response.headers.get("Retry-After", "")
            return response.status_code, float(after) if after.isdigit() else None
    return None, None


def causes(error: BaseException | None) -> list[BaseException]:
    """An error and what caused it, told or not: huggingface_hub wraps what failed, httpcore2 does not say from what."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
