"""Say how a run ended: one log line, `runs/<run_id>/outcome.json`, and a webhook if one is configured.

KFP tells an exit task only that something failed, so what failed and why is read from the run record, and on a
cluster from the step's Pod.
"""

import http.client
import os
import time
import urllib.error
import urllib.request

from minio.error import MinioException

from components import lock
from components.notify.messages import Request, message
from components.notify.pods import investigate
from components.outcome import Outcome, conclude, failure_of, write_outcome
from components.record import iso, read_records, redact
from components.retry import Transient, retry
from components.schema import Notify
from components.store import Store, open_store

WEBHOOK_VARIABLE = "NOTIFY_WEBHOOK"
WEBHOOK_TIMEOUT_S = 10


def report(*, state: str, registry: str, run_id: str, settings: Notify) -> Outcome:
    """Read the record of a run that KFP ended in `state`, write outcome.json, print it and post the webhook.

    The webhook's address is the environment variable NOTIFY_WEBHOOK. A webhook that does not answer is reported in
    the log and changes nothing else. At the end the registry's lock is released if this run holds it. A registry that
    cannot be used is told too, before its error is raised.
    """
    try:
        store = open_store(registry)
        outcome = _close(store, state, run_id)
        link = link_of(store, run_id, settings)
    except (ValueError, OSError, MinioException) as error:
        tell(_without_registry(run_id, error), ui_link(run_id, settings), settings)
        raise
    print(f"run {run_id}: {outcome.ending}: {outcome.sentence}")
    tell(outcome, link, settings)
    return outcome


def _close(store: Store, state: str, run_id: str) -> Outcome:
    """Write the outcome of a run and let go of the registry's lock."""
    records, ended = read_records(store, run_id), time.time()
    failure = failure_of(state, records)
    outcome = conclude(store, run_id, state=state, ended=ended, failure=failure)
    if outcome.ending == "failed" and not any(record["outcome"] == "failed" for record in records):
        running = [record for record in records if record["outcome"] == "running"]
        failure = investigate(run_id, failure, running[-1]["pod"] if running else None)
        outcome = conclude(store, run_id, state=state, ended=ended, failure=failure)
    write_outcome(store, outcome)
    lock.release(store, run_id)
    return outcome


def _without_registry(run_id: str, error: Exception) -> Outcome:
    now, sentence = iso(time.time()), redact(f"the registry cannot be used: {error}")
    return Outcome(run_id=run_id, ending="failed", sentence=sentence, started=now, ended=now)


def tell(outcome: Outcome, link: str, settings: Notify) -> None:
    """Send the message about a run's end, if there is a webhook."""
    if address := os.environ.get(WEBHOOK_VARIABLE):
        post(address, message(outcome, link, settings.format))


def ui_link(run_id: str, settings: Notify) -> str:
    """A run's page in the Kubeflow UI, empty if its address is not known."""
    return f"{settings.ui.rstrip('/')}/#/runs/details/{run_id}" if settings.ui else ""


def link_of(store: Store, run_id: str, settings: Notify) -> str:
    """Where to look at a run: its page in the Kubeflow UI, else its report, else its records in the registry."""
    if link := ui_link(run_id, settings):
        return link
    report = f"runs/{run_id}/results/report.html"
    return store.url(report if store.keys(report) else f"runs/{run_id}")


def post(address: str, sent: Request) -> None:
    """Send one message, again if the server is busy or cut off; a failure is printed: the run has ended either way."""

    def attempt() -> int:
        request = urllib.request.Request(address, data=sent.body, headers=sent.headers)
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S) as answer:
            return answer.status

    try:
        print(f"webhook answered {retry(attempt, 'webhook', _judge)}")
    except http.client.InvalidURL:  # it says a part of the address, which is secret
        print(f"webhook failed: {WEBHOOK_VARIABLE} is no address; write https://HOST/PATH")
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(redact(f"webhook failed: {error}; check the environment variable {WEBHOOK_VARIABLE}"))


def _judge(error: Exception) -> Transient | None:
    if isinstance(error, urllib.error.HTTPError):
        after = error.headers.get("Retry-After", "")
        passes = error.code == 429 or error.code >= 500
        return Transient(f"HTTP {error.code}", float(after) if after.isdigit() else None) if passes else None
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    cut = isinstance(reason, ConnectionError | TimeoutError | http.client.HTTPException)
    return Transient(repr(reason)) if cut and not isinstance(reason, http.client.InvalidURL) else None
