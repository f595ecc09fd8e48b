"""Why a run failed whose steps could not tell themselves: which one it was, and what its Pod last said.

Asked with the service account of the asking Pod (the exit handler, or the next run's preflight), which needs to `list`
Pods and Workflows and to `get` logs; KFP's pipeline-runner may, manifests/components/account grants it. What is refused
or gone leaves the answer poorer, no more.
"""

import time
from typing import Any

from components.lib import inside
from components.lib.ending import ENDED
from components.lib.registry.base import Store
from components.lib.registry.outcome import Failure, conclude, failure_of, was_ended
from components.lib.registry.record import LOG_LINES, read_records, redact


def found_out(store: Store, run_id: str, state: str) -> Failure | None:
    """What stopped a run that KFP ended in `state`; None if nothing did. What the records do not say is asked about."""
    records = read_records(store, run_id)
    failure = failure_of(state, records)
    outcome = conclude(store, run_id, state=state, ended=time.time(), failure=failure)
    silent = [record for record in records if record["outcome"] == "running" or was_ended(record)]
    if outcome.ending != "failed" or any(r["outcome"] == "failed" for r in records if r not in silent):
        return failure
    try:
        return investigate(run_id, failure, silent[-1]["pod"] if silent else None)
    except Exception as error:  # nothing that the cluster answers may keep a run from ending
        print(redact(f"what the cluster answers about the run is not understood: {error!r}"), flush=True)
        return failure


def investigate(run_id: str, known: Failure | None, pod: str | None) -> Failure | None:
    """The failure with the Pod's own reason and last lines; `known` and `pod` are what the records say, if they do.

    What ended a run whose Pod did not start has left its reason. Without a record the run's Pods are looked through,
    then what Kubeflow could not start; where all are gone, what Kubeflow Pipelines calls failed.
    """
    pods, workflow = inside.pods_of(run_id), inside.workflow_of(run_id)
    if late := of_late(workflow):
        return late
    if workflow and (why := inside.why_ended(workflow)):
        worked = [inside.function_of(found) for found in pods if found.metadata.name != inside.own_pod()]
        step = known.step if known else next(reversed(worked), "run")
        return Failure(step=step, why=f"was terminated: {why}", log=known.log if known else [])
    if known:
        return _with_reason(known, next((found for found in pods if found.metadata.name == pod), None))
    for found in reversed(pods):
        if reason := redact(inside.why(found)):
            log = _log(found)
            last = f": {log[-1].strip()}" if log else ""
            return Failure(step=inside.function_of(found), why=f"failed: {reason}{last}", log=log)
    if not_started := of_driver(workflow):
        return not_started
    for name, error in inside.failed_tasks(run_id):
        reason = redact(error) or "its Pod is gone, and Kubeflow Pipelines names no reason"
        return Failure(step=name, why=f"failed: {reason}", log=[])
    return None


def of_late(workflow: dict[str, Any] | None) -> Failure | None:
    """The Pod that did not start in time, if a run was ended for that."""
    because = (workflow or {}).get("metadata", {}).get("annotations", {}).get(inside.ENDED_BY)
    step, _, why = (because or "").partition(": ")
    return Failure(step=step, why=why, log=[]) if because else None


def of_driver(workflow: dict[str, Any] | None) -> Failure | None:
    """What Kubeflow's own driver could not start in a Workflow first; None if there is nothing such."""
    for name, message in inside.broken_drivers(workflow) if workflow else ():
        return Failure(step=name, why=f"was not started, because Kubeflow's driver failed: {redact(message)}", log=[])
    return None


def _with_reason(known: Failure, pod: Any | None) -> Failure:
    """What a step's record says, with what its Pod does."""
    reason, log = (redact(inside.why(pod)), _log(pod)) if pod else ("", [])
    silent = known.why if known.why.startswith(ENDED) else "died before it could say why"
    why = f"{silent}: {reason}" if reason else known.why
    return Failure(step=known.step, why=why, log=log or known.log)


def _log(pod: Any) -> list[str]:
    return [redact(line) for line in inside.log_of(pod.metadata.name, LOG_LINES)]
