"""Say how a run ended: one log line, `runs/<run_id>/outcome.json`, and a webhook if one is configured.

KFP tells an exit task only that something failed, so what failed and why is read from the run record, and on a
cluster from the step's Pod.
"""

import os
import time
import urllib.error
import urllib.request

from components import lock
from components.notify.messages import Request, message
from components.notify.pods import investigate
from components.outcome import Outcome, conclude, failure_of, write_outcome
from components.record import read_records, redact
from components.schema import Notify
from components.store import Store, open_store

WEBHOOK_VARIABLE = "NOTIFY_WEBHOOK"
WEBHOOK_TIMEOUT_S = 10


def report(*, state: str, registry: str, run_id: str, settings: Notify) -> Outcome:
    """Read the record of a run that KFP ended in `state`, write outcome.json, print it and post the webhook.

    The webhook's address is the environment variable NOTIFY_WEBHOOK. A webhook that does not answer is reported in
    the log and changes nothing else. At the end the registry's lock is released if this run holds it.
    """
    store = open_store(registry)
    records, ended = read_records(store, run_id), time.time()
    failure = failure_of(state, records)
    outcome = conclude(store, run_id, state=state, ended=ended, failure=failure)
    if outcome.ending == "failed" and not any(record["outcome"] == "failed" for record in records):
        running = [record for record in records if record["outcome"] == "running"]
        failure = investigate(run_id, failure, running[-1]["pod"] if running else None)
        outcome = conclude(store, run_id, state=state, ended=ended, failure=failure)
    write_outcome(store, outcome)
    lock.release(store, run_id)
    print(f"run {run_id}: {outcome.ending}: {outcome.sentence}")
    if address := os.environ.get(WEBHOOK_VARIABLE):
        post(address, message(outcome, link_of(store, run_id, settings), settings.format))
    return outcome


def link_of(store: Store, run_id: str, settings: Notify) -> str:
    """Where to look at a run: its page in the Kubeflow UI, else its report, else its records in the registry."""
    if settings.ui:
        return f"{settings.ui.rstrip('/')}/#/runs/details/{run_id}"
    report = f"runs/{run_id}/results/report.html"
    return store.url(report if store.keys(report) else f"runs/{run_id}")


def post(address: str, sent: Request) -> None:
    """Send one message; a failure is printed, since the run has ended either way."""
    try:
        request = urllib.request.Request(address, data=sent.body, headers=sent.headers)
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S) as answer:
            print(f"webhook answered {answer.status}")
    except (urllib.error.URLError, TimeoutError, ValueError, OSError) as error:
        print(redact(f"webhook failed: {error}; check the environment variable {WEBHOOK_VARIABLE}"))
