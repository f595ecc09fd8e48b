"""How a run on a cluster ended: by its record in the registry, else by what its Pods said, through KFP's own API."""

import json
import os
from typing import Any

from components.lib.cluster.api import ANSWER_S, TOKEN_VARIABLE
from components.lib.cluster.starting import Waiting
from components.lib.inside import DONE, nodes_of, own_lines, why_ended
from components.lib.registry import lock
from components.lib.registry.base import Store
from components.lib.registry.investigate import of_driver, of_late
from components.lib.registry.outcome import Failure, Outcome, conclude_killed, outcome_of
from components.lib.registry.store import open_store

LOG_LINES = 20
EXECUTOR = "executor"  # begins Argo's names of the Pods that do a step's work, and of the groups of their attempts
ERROR = '{"error_message":'  # begins what KFP answers, or adds, with status 200 where it cannot read a log
LOOKED_AT = 3  # of the newest Pods: the exit handler's is among them
Verdict = tuple[list[str], bool]  # lines to print, and whether the run ended well


def verdict(endpoint: str, run: Any, registry: str, failed: list[str], late: Waiting | None) -> Verdict:
    """How an ended run ended; `failed` is what KFP calls failed, `late` the Pod by which it was ended.

    A run that has no record in a registry that can be read gets one: it ended without its exit handler. There is one
    verdict, that of the record; what KFP says of the run counts where there is none.
    """
    try:
        store = open_store(registry)
        outcome = outcome_of(store.read_json(f"runs/{run.run_id}/outcome.json"))
        outcome = outcome or _concluded(store, run.run_id, _not_started(_workflow(endpoint, run.run_id), late))
    except (ValueError, OSError) as error:
        return _by_its_pods(endpoint, run, failed, late, f"its record in {registry} cannot be read here: {error}")
    log = [f"    {line}" for line in outcome.log[-LOG_LINES:]] + [f"warning: {told}" for told in outcome.warnings]
    record = store.url(f"runs/{run.run_id}/outcome.json")
    return [*log, f"{outcome.ending}: {outcome.sentence}", f"record: {record}"], outcome.ending != "failed"


def _concluded(store: Store, run_id: str, known: Failure | None) -> Outcome:
    """Write the outcome of a run that ended without its exit handler, and let go of its lock."""
    outcome = conclude_killed(store, run_id, known)
    lock.release(store, run_id)
    return outcome


def _not_started(workflow: dict[str, Any], late: Waiting | None) -> Failure | None:
    """What kept a Pod of a run from starting; None if nothing did, or the run was ended."""
    if late:
        return Failure(step=late.step, why=f"could not start: {late}", log=[])
    if found := of_late(workflow):
        return found
    return None if not workflow or why_ended(workflow) else of_driver(workflow)


def _by_its_pods(endpoint: str, run: Any, failed: list[str], late: Waiting | None, unread: str) -> Verdict:
    """What the exit handler's Pod printed of the run, else the last lines of the Pods that failed."""
    head, workflow = f"run {run.run_id}: ", _workflow(endpoint, run.run_id)
    executors = _executors(workflow)
    for pod, _ in executors[:LOOKED_AT]:
        for line in _log(endpoint, run.run_id, pod):
            if line.startswith(head):
                said = line.removeprefix(head)
                return [said, unread], not said.startswith("failed")
    broken = (_log(endpoint, run.run_id, pod) for pod, phase in executors if phase in DONE[1:])
    log = [f"    {line}" for line in next(filter(None, broken), [])[-LOG_LINES:]]
    if known := _not_started(workflow, late):
        return [*log, f"failed: {known.step} {known.why}", unread], False
    named = f"failed: {', '.join(failed)}" if failed else f"Kubeflow Pipelines calls it {run.state.lower()}"
    return [*log, named, unread], run.state == "SUCCEEDED"


def _workflow(endpoint: str, run_id: str) -> dict[str, Any]:
    """Argo's Workflow of a run, as KFP keeps it; empty if it does not tell. Only its old interface has it."""
    import httpx2

    try:
        answer = httpx2.get(f"{endpoint}/apis/v1beta1/runs/{run_id}", headers=_headers(), timeout=ANSWER_S)
        found = json.loads(answer.json()["pipeline_runtime"]["workflow_manifest"])
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _executors(workflow: dict[str, Any]) -> list[tuple[str, str]]:
    """(Pod, phase) of what did a step's work, the newest first."""
    found = [node for node in nodes_of(workflow) if node["type"] == "Pod" and node["displayName"].startswith(EXECUTOR)]
    found.sort(key=lambda node: str(node.get("startedAt")), reverse=True)
    name = workflow.get("metadata", {}).get("name")
    return [(f"{name}-{node['templateName']}-{node['id'].rpartition('-')[2]}", node["phase"]) for node in found]


def _headers() -> dict[str, str]:
    token = os.environ.get(TOKEN_VARIABLE)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _log(endpoint: str, run_id: str, pod: str) -> list[str]:
    """The lines that a step printed, from its Pod or the archive, as KFP gives them; empty if it does not."""
    import httpx2

    try:
        answer = httpx2.get(
            f"{endpoint}/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log", headers=_headers(), timeout=ANSWER_S
        )
    except httpx2.HTTPError:
        return []
    return [] if answer.is_error else own_lines(answer.text.partition(ERROR)[0])
