"""Pods of a run that do not start: why, for how long, whether that is a fault, and how such a run is ended.

Nothing in Kubernetes, Argo or Kubeflow Pipelines bounds the start of a Pod: a claim, an image or a GPU that is not
there lets a step wait for ever. So whoever watches a run ends it: `submit --wait`, `follow`, or the CronJob of
manifests/components/start-timeout, which runs

    python3 -m components.lib.cluster.starting NAMESPACE
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.lib.cluster.pods import ASK_S, kubernetes_client
from components.lib.cluster.step_pod import GPU_RESOURCE, START_TIMEOUT
from components.lib.inside import ARGO, ENDED_BY, NO_PLACE, function_of, reason, unreachable, was_terminated, why

RUN_LABEL = "pipeline/runid"
DRIVER = "Kubeflow's driver"
DRIVER_TIMEOUT_S = 1800  # of KFP's own Pods, which have no annotation of ours
LONGEST = 240  # characters of a reason
LOOKS, APART_S = 3, 10  # of the CronJob: between two Pods a GPU is free for a moment


@dataclass(frozen=True)
class Waiting:
    """A Pod that has not started: its step, why, for how long, how long it may, and which Pod holds its GPU."""

    run_id: str
    pod: str
    step: str
    reason: str
    seconds: float
    timeout_s: int
    holder: str = ""

    @property
    def overdue(self) -> bool:
        """Whether it has waited for longer than it may; waiting for another Pod's GPU is no fault."""
        return not self.holder and self.seconds > self.timeout_s

    def __str__(self) -> str:
        held = f" (held by {self.holder})" if self.holder else ""
        return f"{self.reason or 'its node prepares it'}{held}"


def waiting(core: Any, namespace: str, selector: str) -> list[Waiting]:
    """The Pods of these labels that have not started, the oldest first."""
    listed = core.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=ASK_S).items
    pending = [pod for pod in listed if _is_pending(pod)]
    pending.sort(key=lambda pod: pod.metadata.creation_timestamp)
    return [_waiting(core, namespace, pod) for pod in pending]


def end(custom: Any, namespace: str, late: Waiting) -> str:
    """End the run of a Pod that does not start, and leave the reason at its Workflow; returns that reason.

    As Kubeflow Pipelines terminates a run, by a deadline of 0, which spares the exit handler; where that is what does
    not start, everything ends.
    """
    because = f"could not start within {late.timeout_s} s: {late}"
    for workflow in _workflows(custom, namespace, f"{RUN_LABEL}={late.run_id}"):
        terminated = was_terminated(workflow)
        exit_handler = late.step == "notify" or (late.step == DRIVER and terminated)
        if terminated and not exit_handler:
            continue  # Argo takes a while to delete the Pod
        change: dict[str, Any] = {"spec": {"shutdown": "Terminate"} if exit_handler else {"activeDeadlineSeconds": 0}}
        if ENDED_BY not in workflow["metadata"].get("annotations", {}):
            change["metadata"] = {"annotations": {ENDED_BY: f"{late.step}: {because}"}}
        custom.patch_namespaced_custom_object(*ARGO, namespace, "workflows", workflow["metadata"]["name"], change)
    return because


def end_overdue(core: Any, custom: Any, namespace: str) -> list[Waiting]:
    """End the runs of a namespace whose Pods are overdue at each of LOOKS looks; returns those Pods."""
    seen: dict[str, list[Waiting]] = {}
    for look in range(LOOKS):
        time.sleep(APART_S if look else 0)
        for workflow in _workflows(custom, namespace, "workflows.argoproj.io/completed!=true"):
            run_id = workflow["metadata"].get("labels", {}).get(RUN_LABEL)
            for found in waiting(core, namespace, f"{RUN_LABEL}={run_id}") if run_id else ():
                seen.setdefault(found.pod, []).extend([found] if found.overdue else [])
    late = [looks[-1] for looks in seen.values() if len(looks) == LOOKS]
    for one in late:
        print(f"run {one.run_id}: {one.step} {end(custom, namespace, one)}; the run is ended", flush=True)
    return late


def _waiting(core: Any, namespace: str, pod: Any) -> Waiting:
    said = why(pod)
    text = said.removeprefix(NO_PLACE) if said else _warning(core, namespace, pod.metadata.name)
    holder = gpu_holder(core, namespace) if said.startswith(NO_PLACE) and GPU_RESOURCE in said else ""
    return Waiting(
        run_id=pod.metadata.labels[RUN_LABEL],
        pod=pod.metadata.name,
        step=function_of(pod) or DRIVER,
        reason=shorten(" ".join(text.split())),
        seconds=time.time() - _since(pod),
        timeout_s=int((pod.metadata.annotations or {}).get(START_TIMEOUT, DRIVER_TIMEOUT_S)),
        holder=holder,
    )


def shorten(text: str) -> str:
    """A reason in one line that can be read; the end of a long one repeats its begin in other words."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _is_pending(pod: Any) -> bool:
    return pod.status.phase == "Pending" and not pod.metadata.deletion_timestamp


def _since(pod: Any) -> float:
    """When a Pod began to wait, in seconds since the epoch: when it got its node, else when it was made."""
    placed = [c.last_transition_time for c in pod.status.conditions or [] if (c.type, c.status) == _PLACED]
    return next(iter(placed), pod.metadata.creation_timestamp).timestamp()


_PLACED = ("PodScheduled", "True")


def gpu_holder(core: Any, namespace: str) -> str:
    """The step and Pod that hold a GPU, empty if none does; of all namespaces, if this account may see them."""
    try:
        pods = core.list_pod_for_all_namespaces(_request_timeout=ASK_S).items
    except unreachable():
        pods = core.list_namespaced_pod(namespace, _request_timeout=ASK_S).items
    return next((_named(pod) for pod in pods if pod.spec.node_name and _works(pod) and _wants_gpu(pod)), "")


def _named(pod: Any) -> str:
    step, run_id = function_of(pod), (pod.metadata.labels or {}).get(RUN_LABEL, "")
    return f"{step} of run {run_id}" if step and run_id else f"Pod {pod.metadata.namespace}/{pod.metadata.name}"


def _works(pod: Any) -> bool:
    return pod.status.phase in ("Pending", "Running")


def _wants_gpu(pod: Any) -> bool:
    return any(GPU_RESOURCE in (box.resources.limits or {}) for box in pod.spec.containers if box.resources)


def _warning(core: Any, namespace: str, pod: str) -> str:
    """The last warning about a Pod, as that a volume cannot be mounted; empty if there is none, or nobody tells."""
    try:
        about = f"involvedObject.name={pod},type=Warning"
        events = core.list_namespaced_event(namespace, field_selector=about, _request_timeout=ASK_S).items
    except unreachable():
        return ""
    events.sort(key=lambda event: str(event.last_timestamp or event.event_time or ""))
    return f"{events[-1].reason}: {events[-1].message}" if events else ""


def _workflows(custom: Any, namespace: str, selector: str) -> Iterator[dict[str, Any]]:
    listed = custom.list_namespaced_custom_object(
        *ARGO, namespace, "workflows", label_selector=selector, _request_timeout=ASK_S
    )
    yield from listed["items"]


def main(namespace: str) -> int:
    """What the CronJob does; returns the exit status."""
    try:
        client = kubernetes_client()
        end_overdue(client.CoreV1Api(), client.CustomObjectsApi(), namespace)
    except unreachable() as error:
        print(f"components.lib.cluster.starting: Kubernetes does not answer: {reason(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
