"""The run record: what each step of a run did, kept in the registry and keyed by run.

A KFP exit task is told neither which step failed nor why, so every step writes
`runs/<run_id>/record/<step>.json` itself: when it begins (`outcome` running), every BEAT_S while it runs (`seen`,
and the last log lines), and when it ends (succeeded or failed) with its numbers, seconds and what it ran on. A
record that stays `running` belongs to a step whose process was killed. Values of secret environment variables
are struck out of everything written.
"""

import os
import re
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired, TextIO, TypedDict, cast

from components.lib import ending, inside, machine
from components.lib.files import explained
from components.lib.registry.base import Store
from components.lib.registry.store import open_store
from components.lib.streams import Steady

LOG_LINES = 40
BEAT_S = 5.0
FAILED = "failed: "  # between a step's name and its error, where it cannot be written into the record
RUN_ID_VARIABLE = "GRPO_RUN_ID"  # set on the Pods of a cluster
REGISTRY_VARIABLE = "GRPO_REGISTRY"  # set there where runs with registries of their own share steps
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|KEY|WEBHOOK|CREDENTIAL")
_LEAST_SECRET = 6  # characters; shorter values would strike out ordinary words


@dataclass
class StepReport:
    """What a step has to say of itself; fill `numbers` and `result` while it runs."""

    step: str
    registry: str = ""  # where the record is
    numbers: dict[str, float] = field(default_factory=dict)
    result: str = ""  # one sentence
    details: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] | None = None  # what it ran on, if not this process's machine


class StepRecord(TypedDict):
    """A step's record as the registry keeps it; moments are texts as `iso` writes them."""

    step: str  # preflight, evaluate-base, ...
    outcome: str  # running, succeeded or failed
    started: str
    seen: NotRequired[str]  # the last sign of life; the oldest registries have none
    pod: str | None  # in which it runs, None outside a cluster
    artifact: str | None  # address of one of its KFP artifacts, "" or None if it has none
    log: list[str]  # the last lines
    # When it has ended:
    ended: NotRequired[str]
    seconds: NotRequired[float]
    numbers: NotRequired[dict[str, float]]
    result: NotRequired[str]  # one sentence
    details: NotRequired[dict[str, Any]]  # of StepReport
    error: NotRequired[str | None]  # type and message, None if it succeeded
    machine: NotRequired[dict[str, Any]]  # as lib/machine.py describes it


def record_key(run_id: str, step: str) -> str:
    """Where the registry keeps the record of one step."""
    return f"runs/{run_id}/record/{step}.json"


def is_heavy(step: str) -> bool:
    """Whether a step uses a model, hence a GPU where there is one."""
    return step in ("sample", "sft", "grpo") or step.startswith("evaluate-")


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """`text` with the values of secret environment variables replaced by their names."""
    for name, secret in (os.environ if environment is None else environment).items():
        if len(secret) >= _LEAST_SECRET and _SECRET_NAME.search(name.upper()):
            text = text.replace(secret, f"<{name}>")
    return text


def _redacted(value: Any) -> Any:
    """A JSON value with every text in it redacted."""
    if isinstance(value, dict):
        return {key: _redacted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(inner) for inner in value]
    return redact(value) if isinstance(value, str) else value


@contextmanager
def recorded(registry: str, run_id: str, step: str, artifact: str = "") -> Iterator[StepReport]:
    """Run a step's work under a record in the registry; an error is recorded and raised again.

    `artifact` is the address of one of the step's KFP artifacts, if it has any: it tells where KFP has those of the
    run. An empty `run_id` is read from GRPO_RUN_ID, an empty `registry` from GRPO_REGISTRY. A signal to end, and the
    end of the run on this machine, are recorded as such an error, `Ended`.
    """
    run_id = run_id or os.environ.get(RUN_ID_VARIABLE, "")
    registry = registry or os.environ.get(REGISTRY_VARIABLE, "")
    if not run_id:
        raise ValueError(f"step {step} got no run id, and {RUN_ID_VARIABLE} is not set; give one of them")
    store = open_store(registry)
    record = StepReport(step, registry)
    where = {"pod": inside.own_pod(), "artifact": artifact}
    with ending.handling(ending.end), ending.with_run(), _last_lines() as tail:
        writer = _Writer(store, record_key(run_id, step), record, tail, where)
        try:
            with writer.beating():
                yield record
        except BaseException as error:
            if isinstance(error, ending.Ended):
                ending.deaf()
                writer.end("failed", str(error))
                raise
            last = traceback.format_exception_only(error)[-1].strip()
            last = f"{type(error).__name__}: {explained(error)}" if isinstance(error, OSError) else last
            # The traceback is printed after this process has left the record, so it is added here.
            tail.extend(traceback.format_exc().splitlines())
            try:
                writer.end("failed", last)
            except (OSError, ValueError) as unwritten:  # the volume that the step has filled may be the registry's
                print(f"{unwritten}\n{step} {FAILED}{last}", flush=True)
            raise
        writer.end("succeeded", None)


def read_records(store: Store, run_id: str) -> list[StepRecord]:
    """All step records of a run, in the order in which the steps began."""
    found = [store.read_json(key) for key in store.keys(f"runs/{run_id}/record/")]
    return sorted((cast(StepRecord, r) for r in found if r is not None), key=lambda r: r["started"])


def details_of(records: Iterable[StepRecord], step: str) -> dict[str, Any]:
    """The details of a step that has ended; empty if it has not."""
    return next((record.get("details", {}) for record in records if record["step"] == step), {})


def publish(registry: str, run_id: str, directory: Path) -> None:
    """Put the files of a step's result directory beside the run's records, under `runs/<run_id>/results`."""
    open_store(registry).put_tree(f"runs/{run_id}/results", directory)


class _Writer:
    """Writes one step's record; `where` says in which Pod it runs and where KFP keeps one of its artifacts."""

    def __init__(
        self, store: Store, key: str, record: StepReport, tail: deque[str], where: Mapping[str, str | None]
    ) -> None:
        self.store, self.key, self.record, self.tail, self.where = store, key, record, tail, where
        self.started, self.clock = time.time(), time.monotonic()  # a clock may be set meanwhile
        self._write("running")

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Renew the record every BEAT_S until the block ends; a registry that is away meanwhile does no harm."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT_S):
                try:
                    self._write("running")
                except Exception as error:  # whatever it is, it must not end the step's work
                    print(f"{self.key}: {error}", flush=True)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def end(self, outcome: str, error: str | None) -> None:
        """Write the final record."""
        seconds = time.monotonic() - self.clock
        self._write(
            outcome, ended=iso(self.started + seconds), seconds=round(seconds, 3), numbers=self.record.numbers,
            result=redact(self.record.result), details=_redacted(self.record.details),
            error=None if error is None else redact(error),
            machine=self.record.machine or machine.describe(heavy=is_heavy(self.record.step)),
        )  # fmt: skip

    def _write(self, outcome: str, **more: Any) -> None:
        log = [redact(line) for line in list(self.tail)]  # another thread appends
        value = {"step": self.record.step, "outcome": outcome, "started": iso(self.started), "seen": iso(time.time())}
        self.store.write_json(self.key, {**value, **self.where, "log": log, **more})


def iso(seconds: float) -> str:
    """A moment, in seconds since the epoch, as text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class _Tee(Steady):
    """A text stream that passes everything on and keeps the last lines."""

    def __init__(self, stream: TextIO | None, tail: deque[str]) -> None:
        super().__init__(stream)
        self.tail, self.rest = tail, ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        self.tail.extend(line.rpartition("\r")[2] for line in lines if line.strip())
        return super().write(text)


@contextmanager
def _last_lines() -> Iterator[deque[str]]:
    tail: deque[str] = deque(maxlen=LOG_LINES)
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Tee(out, tail), _Tee(err, tail)  # type: ignore[assignment]
    try:
        yield tail
    finally:
        sys.stdout, sys.stderr = out, err
