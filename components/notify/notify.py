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
from components.lib.registry.investigate import found_out
from components.lib.registry.outcome import Outcome, conclude, write_outcome
from components.lib.registry.record import iso, redact
from components.lib.registry.store import open_store
from components.lib.reporting.tell import link_of, tell, ui_link
from components.lib.streams import Steady


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
        for warning in outcome.warnings:
            print(f"warning: {warning}")
        tell(outcome, link, settings)
        return outcome


def _close(store: Store, state: str, run_id: str) -> Outcome:
    """Write the outcome of a run and let go of the registry's lock."""
    ended = time.time()
    failure = found_out(store, run_id, state)
    outcome = conclude(store, run_id, state=state, ended=ended, failure=failure)
    write_outcome(store, outcome)
    lock.release(store, run_id)
    return outcome


def _without_registry(run_id: str, error: Exception) -> Outcome:
    now, sentence = iso(time.time()), redact(f"the registry cannot be used: {error}")
    return Outcome(run_id=run_id, ending="failed", sentence=sentence, started=now, ended=now)
