"""Say how a run ended: one log line, `runs/<run_id>/outcome.json`, and a webhook if one is configured.

KFP tells an exit task only that something failed, so what failed and why is read from the run record.
"""

import json
import os
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import Any

from components.record import read_records, redact
from components.store import open_store

WEBHOOK_VARIABLE = "NOTIFY_WEBHOOK"
WEBHOOK_TIMEOUT_S = 10
GOOD_STATES = ("COMPLETE", "SUCCEEDED")  # a cluster says COMPLETE, kfp.local SUCCEEDED


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run_id: str
    ending: str  # promoted, rejected, no-change or failed
    sentence: str
    failed_step: str | None
    log: list[str]
    seconds: dict[str, float]  # per step
    numbers: dict[str, dict[str, float]]  # per step


def report(*, state: str, registry: str, run_id: str) -> Outcome:
    """Read the record of a run that KFP ended in `state`, write outcome.json, print it and post the webhook.

    The webhook's address is the environment variable NOTIFY_WEBHOOK; it receives the outcome as JSON with a
    `text` field. A webhook that does not answer is reported in the log and changes nothing else.
    """
    store = open_store(registry)
    outcome = summarise(state, run_id, read_records(store, run_id))
    store.write_json(f"runs/{run_id}/outcome.json", asdict(outcome))
    print(f"run {run_id}: {outcome.ending}: {outcome.sentence}")
    if address := os.environ.get(WEBHOOK_VARIABLE):
        post(address, {"text": f"{outcome.ending}: {outcome.sentence}", **asdict(outcome)})
    return outcome


def summarise(state: str, run_id: str, records: list[dict[str, Any]]) -> Outcome:
    """The outcome that a run's final state and its step records amount to."""
    failed = next((r for r in records if r["outcome"] == "failed"), None)
    if failed is None and state not in GOOD_STATES:
        failed = next((r for r in reversed(records) if r["outcome"] == "running"), None)
    ending, sentence = _ending(state, failed, {r["step"]: r for r in records})
    return Outcome(
        run_id=run_id,
        ending=ending,
        sentence=sentence,
        failed_step=failed["step"] if failed else None,
        log=failed.get("log", []) if failed else [],
        seconds={r["step"]: r["seconds"] for r in records if "seconds" in r},
        numbers={r["step"]: r["numbers"] for r in records if r.get("numbers")},
    )


def _ending(state: str, failed: dict[str, Any] | None, steps: dict[str, dict[str, Any]]) -> tuple[str, str]:
    if failed and failed["outcome"] == "failed":
        return "failed", f"{failed['step']} failed: {failed['error']}"
    if failed:
        return "failed", f"{failed['step']} died before it could say why (killed, out of memory, or timed out)"
    if state not in GOOD_STATES:
        return "failed", f"the run ended in state {state} and no step recorded a failure; look at its Pods"
    for step, ending in (("push", "promoted"), ("gate", "rejected"), ("preflight", "no-change")):
        if step in steps:
            return ending, steps[step]["result"]
    return "failed", "no step left a record; is the registry the one that the steps wrote to?"


def post(address: str, message: dict[str, Any]) -> None:
    """Send one JSON message; a failure is printed, since the run has ended either way."""
    request = urllib.request.Request(
        address, data=json.dumps(message).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S) as answer:
            print(f"webhook answered {answer.status}")
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        print(redact(f"webhook failed: {error}; check the environment variable {WEBHOOK_VARIABLE}"))
