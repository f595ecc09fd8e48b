"""How a run on a cluster ended: by its record in the registry, else by what its Pods said, through KFP's own API."""

import os
from typing import Any

from components.lib.cluster.api import ANSWER_S, TOKEN_VARIABLE
from components.lib.inside import own_lines
from components.lib.registry import lock
from components.lib.registry.base import Store
from components.lib.registry.outcome import Failure, Outcome, conclude_killed, outcome_of
from components.lib.registry.store import open_store

LOG_LINES = 20
EXECUTOR = "executor"  # begins KFP's name of the nodes whose Pods do a step's work, and of Argo's groups of attempts
ERROR = '{"error_message":'  # begins what KFP answers, or adds, with status 200 where it cannot read a log
LOOKED_AT = 3  # of the newest Pods: the exit handler's is among them
Verdict = tuple[list[str], bool]  # lines to print, and whether the run ended well


def verdict(endpoint: str, run: Any, registry: str, failed: list[str], known: Failure | None) -> Verdict:
    """How an ended run ended; `failed` is what KFP calls failed, `known` what kept one of its Pods from starting.

    A run that has no record in a registry that can be read gets one: it ended without its exit handler. There is one
    verdict, that of the record; what KFP says of the run counts where there is none.
    """
    try:
        store = open_store(registry)
        outcome = outcome_of(store.read_json(f"runs/{run.run_id}/outcome.json")) or _concluded(store, run.run_id, known)
    except (ValueError, OSError) as error:
        return _by_its_pods(endpoint, run, failed, known, f"its record in {registry} cannot be read here: {error}")
    log = [f"    {line}" for line in outcome.log[-LOG_LINES:]] + [f"warning: {told}" for told in outcome.warnings]
    record = store.url(f"runs/{run.run_id}/outcome.json")
    return [*log, f"{outcome.ending}: {outcome.sentence}", f"record: {record}"], outcome.ending != "failed"


def _concluded(store: Store, run_id: str, known: Failure | None) -> Outcome:
    """Write the outcome of a run that ended without its exit handler, and let go of its lock."""
    outcome = conclude_killed(store, run_id, known)
    lock.release(store, run_id)
    return outcome


def _by_its_pods(endpoint: str, run: Any, failed: list[str], known: Failure | None, unread: str) -> Verdict:
    """What the exit handler's Pod printed of the run, else the last lines of the Pods that failed."""
    head = f"run {run.run_id}: "
    executors = [task for task in _tasks(run) if (task.display_name or "").startswith(EXECUTOR) and task.pod_name]
    for task in executors[:LOOKED_AT]:
        for line in _log(endpoint, run.run_id, task.pod_name):
            if line.startswith(head):
                said = line.removeprefix(head)
                return [said, unread], not said.startswith("failed")
    broken = (_log(endpoint, run.run_id, task.pod_name) for task in executors if task.state == "FAILED")
    log = [f"    {line}" for line in next(filter(None, broken), [])[-LOG_LINES:]]  # a group of attempts has no Pod
    if known:
        return [*log, f"failed: {known.step} {known.why}", unread], False
    named = f"failed: {', '.join(failed)}" if failed else f"Kubeflow Pipelines calls it {run.state.lower()}"
    return [*log, named, unread], run.state == "SUCCEEDED"


def _tasks(run: Any) -> list[Any]:
    """KFP's nodes of a run, the newest first."""
    details = (run.run_details and run.run_details.task_details) or []
    return sorted(details, key=lambda task: str(task.create_time), reverse=True)


def _log(endpoint: str, run_id: str, pod: str) -> list[str]:
    """The lines that a step printed, from its Pod or the archive, as KFP gives them; empty if it does not."""
    import httpx2

    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx2.get(
            f"{endpoint}/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log", headers=headers, timeout=ANSWER_S
        )
    except httpx2.HTTPError:
        return []
    return [] if answer.is_error else own_lines(answer.text.partition(ERROR)[0])
