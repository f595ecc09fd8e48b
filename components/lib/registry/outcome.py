"""How a run ended: `runs/<run_id>/outcome.json`, written by the exit handler and kept for good.

It is what the history, the question whether anything has changed, and the cleaning need to know of a run.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from components.lib.ending import ENDED
from components.lib.recipe.settings import replace
from components.lib.registry import lock
from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.plan import Plan
from components.lib.registry.record import StepRecord, details_of, iso, read_records

GOOD_STATES = ("COMPLETE", "SUCCEEDED")  # a cluster says COMPLETE, kfp.local SUCCEEDED
KILLED = "KILLED"  # our own word for the state of a run that ended without its exit handler
ENDINGS = ("promoted", "rejected", "measured", "no-change", "failed")


class ResultRow(TypedDict):
    """What an outcome keeps of a row of compare's results.json: a checkpoint on the evaluation problems."""

    checkpoint: str
    protocol: str
    n: int  # problems
    correct: float  # of them; with several samples each counts with their mean
    accuracy: float  # correct / n
    interval: list[float]  # low and high end of the Wilson interval
    source: NotRequired[str]  # of a row of one source
    macro: NotRequired[float | None]  # mean of the sources' accuracies where there are several


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended, and what of it is kept when the rest is cleaned away.

    A field that is new gets a default, with which older outcomes are read.
    """

    run_id: str
    ending: str  # one of ENDINGS
    sentence: str
    started: str
    ended: str
    recipe: str = ""
    failed_step: str | None = None
    log: list[str] = field(default_factory=list)  # the failed step's last lines
    seconds: dict[str, float] = field(default_factory=dict)  # per step
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)  # per step
    results: list[ResultRow] = field(default_factory=list)
    sources: list[ResultRow] = field(default_factory=list)  # of each source by itself, where there are several
    gpu_hours: float = 0.0
    fingerprint: str = ""  # of inputs, settings and code; empty if preflight failed
    inputs: str = ""  # hash of the plan
    version: str = ""  # the version that this run promoted, empty if none
    champion: str = ""  # the champion when it had ended, empty if none
    artifacts: str = ""  # where KFP keeps the run's artifacts, empty if no step told
    cleaned: bool = False  # whether all but this was deleted
    warnings: list[str] = field(default_factory=list)  # what went wrong and changed nothing of the ending

    @property
    def judged(self) -> bool:
        """Whether the gate has decided about its model."""
        return self.ending in ("promoted", "rejected")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What stopped a run: the step, the reason in half a sentence, and its last log lines."""

    step: str
    why: str
    log: list[str]


def was_ended(record: StepRecord) -> bool:
    """Whether a step was told to end, by whom its record does not know."""
    return (record.get("error") or "").startswith(ENDED)


def failure_of(state: str, records: Sequence[StepRecord]) -> Failure | None:
    """What the records say of the step that failed, or was killed, in a run that KFP ended in `state`."""
    for record in records:
        if record["outcome"] == "failed":
            why = str(record["error"]) if was_ended(record) else f"failed: {record['error']}"
            return Failure(step=record["step"], why=why, log=record["log"])
    running = [record for record in records if record["outcome"] == "running"]
    if state in GOOD_STATES or not running:
        return None
    why = "died before it could say why (killed, out of memory, or timed out)"
    return Failure(step=running[-1]["step"], why=why, log=running[-1]["log"])


def conclude(store: Store, run_id: str, *, state: str, ended: float, failure: Failure | None) -> Outcome:
    """The outcome of a run that KFP ended in `state`, from its step records, its results and the champion."""
    records = read_records(store, run_id)
    steps = {record["step"]: record for record in records}
    found = details_of(records, "preflight")
    champion = read_champion(store)
    promoted = champion.get("run_id") == run_id
    ending, sentence = _ending(state, failure, steps, champion if promoted else None)
    results = store.read_json(f"runs/{run_id}/results/results.json") or {}
    return Outcome(
        run_id=run_id,
        recipe=found.get("recipe", ""),
        ending=ending,
        sentence=sentence,
        failed_step=failure.step if failure else None,
        log=failure.log if failure else [],
        started=min((record["started"] for record in records), default=iso(ended)),
        ended=iso(ended),
        seconds={r["step"]: r["seconds"] for r in records if "seconds" in r},
        numbers={r["step"]: r["numbers"] for r in records if r.get("numbers")},
        results=[_result(row) for row in results.get("results", [])],
        sources=[_result(row) for row in results.get("sources", []) if row["split"] == "evaluation"],
        gpu_hours=gpu_hours(records),
        fingerprint=found.get("fingerprint", ""),
        inputs=inputs_of(Plan.read(found["plan"])) if "plan" in found else "",
        version=champion["version"] if promoted else "",
        champion=champion.get("version", ""),
        artifacts=next((root for r in records if (root := artifact_root(r.get("artifact") or "", run_id))), ""),
        cleaned=False,
        warnings=[told for record in records if (told := record.get("details", {}).get("warning"))],
    )


def conclude_killed(store: Store, run_id: str, failure: Failure | None = None) -> Outcome:
    """Write the outcome of a run that ended without its exit handler, as of its last sign of life; returns it.

    `failure` is given by who knows more of it than the run's records say.
    """
    failure = failure or failure_of(KILLED, read_records(store, run_id))
    ended = lock.last_sign(store, run_id) or time.time()
    outcome = conclude(store, run_id, state=KILLED, ended=ended, failure=failure)
    write_outcome(store, outcome)
    return outcome


def _result(row: Mapping[str, Any]) -> ResultRow:
    return cast(ResultRow, {name: row[name] for name in ResultRow.__annotations__ if row.get(name) is not None})


def _ending(
    state: str, failure: Failure | None, steps: Mapping[str, StepRecord], champion: Mapping[str, Any] | None
) -> tuple[str, str]:
    """The ending and its sentence; `champion` is what this run has made the champion, if it has.

    The records decide, not KFP's state: on a cluster that is RUNNING also when all that was left to do was skipped.
    """
    if champion and failure:
        return "promoted", f"version {champion['version']} is the champion, although {failure.step} {failure.why}"
    if failure:
        return "failed", f"{failure.step} {failure.why}"
    gate = details_of(steps.values(), "gate")
    if "push" in steps and steps["push"]["outcome"] == "succeeded":
        return "promoted", steps["push"]["result"] + (", by force" if gate.get("forced") else "")
    if gate.get("promoted") is False:
        return "rejected", steps["gate"]["result"]
    if "gate" not in steps and "compare" in steps and steps["compare"]["outcome"] == "succeeded":
        return "measured", "a run of a study: its checkpoints were measured, nothing was judged"
    if details_of(steps.values(), "preflight").get("changed") is False:
        return "no-change", steps["preflight"]["result"]
    if not steps:
        return "failed", f"no step left a record (state {state}); is the registry the one that the steps wrote to?"
    return "failed", f"the run ended in state {state} after {list(steps)[-1]}; look at the Pod that was to follow"


def write_outcome(store: Store, outcome: Outcome) -> None:
    """Put an outcome where `read_outcomes` finds it."""
    store.write_json(f"runs/{outcome.run_id}/outcome.json", asdict(outcome))


def read_outcomes(store: Store) -> list[Outcome]:
    """The outcomes of all runs in the order in which they began; what cannot be read is left out."""
    return read_all(store)[0]


def read_all(store: Store) -> tuple[list[Outcome], int]:
    """The outcomes of all runs in the order in which they began, and how many are none that this code can read."""
    keys = [key for key in store.keys("runs") if key.endswith("/outcome.json") and key.count("/") == 2]
    found = [outcome_of(value) for key in keys if (value := store.read_json(key)) is not None]
    outcomes = sorted((outcome for outcome in found if outcome), key=lambda outcome: outcome.started)
    return outcomes, len(found) - len(outcomes)


def outcome_of(value: Any) -> Outcome | None:
    """The outcome in a JSON value of this or another version of the code: unknown fields go, new ones get defaults.

    None if one that has no default is missing, or the ending is unknown.
    """
    if not isinstance(value, dict) or value.get("ending") not in ENDINGS:
        return None
    if any(f.name not in value and f.default is MISSING and f.default_factory is MISSING for f in fields(Outcome)):
        return None
    return Outcome(**{f.name: value[f.name] for f in fields(Outcome) if f.name in value})


def inputs_of(plan: Plan) -> str:
    """A hash of what a run starts from: model, sources and evaluation at their revisions, and the seed."""
    return hashlib.sha256(replace(plan.hashed(), generation=0).text().encode()).hexdigest()[:16]


def gpu_hours(records: Sequence[StepRecord]) -> float:
    """Hours of all GPUs that the steps of these records had, used or idle."""
    seconds = [record["seconds"] * len(record["machine"]["gpus"]) for record in records if record.get("machine")]
    return round(sum(seconds) / 3600, 4)


def artifact_root(uri: str, run_id: str) -> str:
    """Where KFP keeps all artifacts of a run, from the address of one of them; empty if it cannot be told.

    On a cluster the run's id is a part of the address; kfp.local writes ROOT/PIPELINE-TIME/TASK/NAME.
    """
    head, found, _ = uri.partition(f"/{run_id}/")
    if found:
        return f"{head}/{run_id}"
    place = Path(uri).parent.parent
    return str(place) if uri.startswith("/") and place.name.startswith("grpo-pipeline-") else ""
