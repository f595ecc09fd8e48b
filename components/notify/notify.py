"""Say how a run ended: one log line, `runs/<run_id>/outcome.json`, and a webhook if one is configured.

KFP tells an exit task only that something failed, so what failed and why is read from the run record, and on a
cluster from the step's Pod.
"""

import contextlib
import sys
import time

from components.lib.recipe.schema import Notify
from components.lib.registry import lock
from components.lib.registry.base import Store
from components.lib.registry.outcome import Failure, Outcome, conclude, failure_of, was_ended, write_outcome
from components.lib.registry.record import iso, read_records, redact
from components.lib.registry.store import open_store
from components.lib.reporting.tell import link_of, tell, ui_link
from components.lib.streams import Steady
from components.notify.pods import investigate


def report(*, state: str, registry: str, run_id: str, settings: Notify) -> Outcome:
    """Read the record of a run that KFP ended in `state`, write outcome.json, print it and post the webhook.

    The webhook's address is the environment variable NOTIFY_WEBHOOK. A webhook that does not answer is reported in
    the log and changes nothing else, nor does a console that is gone. At the end the registry's lock is released if
    this run holds it. A registry that cannot be used is told too, before its error is raised.
    """
    with contextlib.redirect_stdout(Steady(sys.stdout)):  # type: ignore[type-var]
        try:
            store = open_store(registry)
            outcome = _close(store, state, run_id)
            link = link_of(store, run_id, settings)
        except (ValueError, OSError) as error:
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
    silent = [record for record in records if record["outcome"] == "running" or was_ended(record)]
    if outcome.ending == "failed" and not any(r["outcome"] == "failed" for r in records if r not in silent):
        failure = _found_out(run_id, failure, silent[-1]["pod"] if silent else None)
        outcome = conclude(store, run_id, state=state, ended=ended, failure=failure)
    write_outcome(store, outcome)
    lock.release(store, run_id)
    return outcome


def _found_out(run_id: str, known: Failure | None, pod: str | None) -> Failure | None:
    """What the cluster tells of the failure, or what is `known`: nothing that it answers may keep a run from ending."""
    try:
        return investigate(run_id, known, pod)
    except Exception as error:
        print(redact(f"what the cluster answers about the run is not understood: {error!r}"), flush=True)
        return known


def _without_registry(run_id: str, error: Exception) -> Outcome:
    now, sentence = iso(time.time()), redact(f"the registry cannot be used: {error}")
    return Outcome(run_id=run_id, ending="failed", sentence=sentence, started=now, ended=now)
