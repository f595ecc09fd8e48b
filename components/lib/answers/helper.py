"""A process that answers lines of JSON and can be ended: what it runs, as sympy or a user's checker, may hang or die.

It starts with the first question, and ends with its parent: its standard input is then over.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

START_S = 120.0
READY = b"ready\n"
_ROOT = Path(__file__).resolve().parents[3]


class NotStarted(Exception):
    """The process did not say that it is ready; the text is what it said instead."""


class Silent(Exception):
    """There was no answer in time; the text is what the process said instead, and how it ended if it did so itself."""


class Helper:
    """A running `python -m MODULE`, one question at a time.

    `greeting` is what it is told before it says READY. `patience_s` is how long one that gives no answer is listened
    to before it is ended.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str], greeting: Any = None, patience_s: float = 0.0
    ) -> None:
        self.owner = os.getpid()
        self._module, self._environment, self._greeting = module, environment, greeting
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: Any, limit_s: float) -> Any:
        """Return the answer to a question; NotStarted, or Silent where there is none within `limit_s`."""
        with self._lock:
            process = self._process or self._start()
            try:
                _write(process, question)
                answer = _read(process, limit_s)
            except BaseException:  # its answer must not be taken for the next question's
                self.end()
                raise
            with contextlib.suppress(ValueError):
                if answer.endswith(b"\n"):
                    return json.loads(answer)
            raise Silent(self._last_words(answer))

    def start(self) -> None:
        """Start the process now, if it does not run yet; NotStarted."""
        with self._lock:
            if not self._process:
                self._start()

    def end(self) -> None:
        """End the process and what it has started; the next question starts another."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self._process.wait()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(_ROOT), *filter(None, [self._environment.get("PYTHONPATH")])])
        own = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", self._module], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**self._environment, **own}, process_group=0,
        )  # fmt: skip
        try:
            if self._greeting is not None:
                _write(process, self._greeting)
            said = _read(process, START_S)
        except BaseException:
            self.end()
            raise
        if said != READY:
            raise NotStarted(self._last_words(said))
        return process

    def _last_words(self, said: bytes) -> str:
        """End the process; returns what it said in the end, and how it ended if it has done so on its own."""
        assert self._process
        process = self._process
        said += _read(process, self._patience_s, lines=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self._patience_s)
        status = process.returncode
        self.end()
        words = said.decode(errors="replace").strip()
        if status is not None and status < 0:
            return f"{words}\nits process was ended by {signal.Signals(-status).name}".strip()
        return words or ("" if status is None else f"its process ended with status {status}")


def _write(process: subprocess.Popen[bytes], value: Any) -> None:
    """Write a line; a process that has ended will not answer it."""
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(value, default=str).encode() + b"\n")
        process.stdin.flush()


def _read(process: subprocess.Popen[bytes], timeout_s: float, *, lines: bool = True) -> bytes:
    """Read a line, or all, from the process; what came of it when the time is over or the process ended."""
    assert process.stdout
    read, until = b"", time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not (lines and read.endswith(b"\n")) and selector.select(max(0.0, until - time.monotonic())):
            part = os.read(process.stdout.fileno(), 65_536)
            if not part:
                break
            read += part
    return read
