"""The verb `unlock`: let go of the lock of a run that has ended without doing so, by the word of a person."""

from functools import partial

from components.lib.cluster.pods import kubernetes_client
from components.lib.inside import ARGO, reason, unreachable
from components.lib.registry import lock
from components.lib.registry.outcome import conclude_killed
from components.lib.registry.record import read_records
from components.lib.registry.store import open_store


def unlock(registry: str, run_id: str, *, namespace: str, force: bool) -> int:
    """Release the lock of a run that has ended, and write its outcome if it has none; returns the exit status.

    `ValueError` if another run holds the lock, if the run lives, or if nobody can tell and `force` is not given.
    """
    store = open_store(registry)
    held = lock.current(store)
    if held is None or held.value["released"]:
        print(f"the registry {registry} is not locked")
        return 0
    if held.value["run_id"] != run_id:
        raise ValueError(f"the registry {registry} is locked by run {held.value['run_id']}, not by {run_id}")
    ended, how = lock.has_ended(store, held, partial(phase_of, namespace))
    if ended is False:
        raise ValueError(f"run {run_id} lives: {how}; terminate it first, or wait for its end")
    if ended is None and not force:
        raise ValueError(
            f"nobody here can tell whether run {run_id} has ended; set KUBECONFIG and --namespace to where its "
            "Workflow is, or add --force if you know that it has"
        )
    if read_records(store, run_id) and store.read(f"runs/{run_id}/outcome.json") is None:
        outcome = conclude_killed(store, run_id)
        print(f"run {run_id}: {outcome.ending}: {outcome.sentence}")
    lock.release(store, run_id)
    print(f"the registry {registry} is free: {how or 'by --force'}")
    return 0


def phase_of(namespace: str, run_id: str) -> str:
    """The phase of a run's Workflow by the cluster of KUBECONFIG, empty if it has none or cannot be asked."""
    selector = f"pipeline/runid={run_id}"
    try:
        custom = kubernetes_client().CustomObjectsApi()
        found = custom.list_namespaced_custom_object(*ARGO, namespace, "workflows", label_selector=selector)["items"]
    except unreachable() as error:
        print(f"Kubernetes does not tell: {reason(error)}", flush=True)
        return ""
    if not found:
        print(f"namespace {namespace} has no Workflow of run {run_id}: it was deleted, or is elsewhere", flush=True)
    return found[0].get("status", {}).get("phase", "Pending") if found else ""
