"""Answers of the kind `math`: settled at once where text or number decide, else by a process that can be ended.

One such process per process that asks; it starts with the first question, in about a second, and ends with its parent.
The rules of lm-eval have another one (`lm_eval_math`), with the same limits.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from components.lib.answers.math_rules import readable
from components.lib.answers.math_text import LONGEST, notation, number, squeezed

LIMIT_S = 2.0
"""Wall time after which a question is given up and its process ended; its CPU time ends sooner (`math_worker`)."""
START_S = 120.0
_ROOT = Path(__file__).resolve().parents[3]


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
        worker = _workers[module] = _Worker(module)
    return worker.ask(question)


def end() -> None:
    """End this process's workers, if it has any."""
    for worker in _workers.values():
        if worker.owner == os.getpid():
            worker.end()


class _Worker:
    """A running `math_worker.serve`; one question at a time."""

    def __init__(self, module: str) -> None:
        self.module, self.owner = module, os.getpid()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: Sequence[str]) -> bool | None:
        """Return the verdict, or None where there is none in time: the process is then ended."""
        with self._lock:
            process = self._process or self._start()
            assert process.stdin
            try:
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
                line = _line(process, LIMIT_S)
            except BrokenPipeError:  # it ended on its own
                line = b""
            except BaseException:  # its answer must not be taken for the next question's
                self.end()
                raise
            if not line.endswith(b"\n"):
                self.end()
                return None
            return json.loads(line)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        path = os.pathsep.join([str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])])
        command = [sys.executable, "-m", self.module]
        self._process = process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment | {"PYTHONPATH": path}
        )
        if _line(process, START_S) != b"ready\n":
            self.end()
            raise OSError("the process that compares mathematics did not start; is math-verify installed?")
        return process

    def end(self) -> None:
        """End the process; the next question starts another."""
        if self._process:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self._process.wait()
            self._process = None


_workers: dict[str, _Worker] = {}


def _line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """Read a line from the process; what came of it when the time is over or the process ended."""
    assert process.stdout
    read, until = b"", time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not read.endswith(b"\n") and selector.select(max(0.0, until - time.monotonic())):
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                break
            read += part
    return read
