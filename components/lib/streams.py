"""The console: UTF-8 whatever the locale, in this process and those that it starts, and what may break meanwhile."""

import codecs
import io
import locale
import os
import sys
from collections.abc import Callable
from typing import Any

# What a Python process needs for it; what cannot be encoded at all, as half a character, is printed escaped.
VARIABLES = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}


def use_utf8() -> None:
    """Let what is read, written and printed without an encoding be UTF-8, in libraries and in KFP's processes too.

    A process that has begun with another encoding starts anew, with the arguments that it had: call it first of all.
    """
    encodings = {codecs.lookup(name).name for name in (locale.getpreferredencoding(False), *_encodings())}
    anew = bool(encodings - {"utf-8"}) and not VARIABLES.items() <= os.environ.items()  # once
    os.environ |= VARIABLES
    if anew:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _encodings() -> list[str]:
    return [stream.encoding for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]


class Steady:
    """A text stream that may break (a pipe into `head`, a terminal that is gone): from then on it says nothing."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.broken = stream or NOWHERE, False

    def write(self, text: str) -> int:
        """Write, as long as that works."""
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, as long as that works."""
        self._try(lambda: self.stream.flush())

    def _try(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except (OSError, ValueError):  # a ValueError: it was closed
            self.broken = True
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())  # where its buffer goes too
            except (OSError, ValueError):
                self.stream = NOWHERE

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Nowhere(io.TextIOBase):
    """Where a stream goes that is no more."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)


NOWHERE = _Nowhere()
