"""A Pod that a step would resemble: its manifest, and running it to its end."""

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from components.lib.cluster.step_pod import HUB, PUSH, USER, step_pod
from components.lib.inside import NO_PLACE, reason, unreachable, why
from components.lib.recipe.schema import Cluster

START_S = 900  # the trainer's image is large
UNSCHEDULABLE_S = 15  # the scheduler may take a moment to find a place
POLL_S = 1
ASK_S = 5  # for one question to the API server
GONE = 404  # HTTP status


@dataclass(frozen=True)
class ProbeResult:
    """How a probe Pod ended: its log, and what kept it from running, empty if nothing did."""

    log: str
    problem: str


def kubernetes_client() -> Any:
    """The kubernetes package, set up from KUBECONFIG or from inside a Pod."""
    import kubernetes

    try:
        kubernetes.config.load_incluster_config()
    except kubernetes.config.ConfigException:
        kubernetes.config.load_kube_config()
    return kubernetes.client


def refused() -> Any:
    """The error of a question that the API server answered with no."""
    import kubernetes

    return kubernetes.client.ApiException


def if_there(ask: Callable[..., Any], *given: Any, **options: Any) -> Any | None:
    """What a method of Kubernetes' client answers about an object, None if there is none."""
    try:
        return ask(*given, **options, _request_timeout=ASK_S)
    except refused() as error:
        if error.status != GONE:
            raise
        return None


def probe_pod(
    cluster: Cluster, image: str, heavy: bool, *, asks: Sequence[str] = (), service_account: str = ""
) -> dict[str, Any]:
    """The manifest of a Pod with the place, mounts, secrets and user of a step.

    `asks` are options of lib/cluster/probe.py: what is looked at beside the volumes, the Hub and the GPU.
    """
    pod = step_pod(cluster, heavy, secrets=HUB if heavy else PUSH)
    volumes, mounts = pod.volumes()
    command = ["python3", "-m", "components.lib.cluster.probe", "look", *pod.claims, *asks]
    command += ["--gpu"] if heavy and cluster.gpus else []
    container = {
        "name": "probe", "image": image, "command": command, "imagePullPolicy": cluster.image_pull_policy,
        "env": pod.env(), "volumeMounts": mounts,
        # As the step's, for they decide where the Pod may go; the probe itself needs little.
        "resources": {"requests": pod.requests, "limits": pod.limits},
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
    }  # fmt: skip
    spec: dict[str, Any] = {
        "restartPolicy": "Never", "containers": [container], "volumes": volumes, "nodeSelector": pod.selector,
        "tolerations": pod.tolerations,
    }  # fmt: skip
    if service_account:
        spec["serviceAccountName"] = service_account
    if cluster.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": cluster.image_pull_secret}]
    name = f"grpo-doctor-{'trainer' if heavy else 'data'}-{secrets.token_hex(3)}"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def run(core: Any, namespace: str, manifest: dict[str, Any]) -> ProbeResult:
    """Create a Pod, wait for its end and delete it; what keeps it from starting is found within seconds."""
    name = manifest["metadata"]["name"]
    try:
        core.create_namespaced_pod(namespace, manifest)
    except unreachable() as error:
        return ProbeResult("", f"the API server refuses the Pod: {getattr(error, 'body', error)}")
    try:
        problem = _wait(core, namespace, name)
        return ProbeResult("" if problem else _log(core, namespace, name), problem)
    except unreachable() as error:
        return ProbeResult("", f"the Pod {name} is gone or cannot be read: {reason(error)}")
    finally:
        with contextlib.suppress(*unreachable()):
            core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)


def _wait(core: Any, namespace: str, name: str) -> str:
    """What kept a Pod from ending well, empty if nothing did."""
    started = time.monotonic()
    while (waited := time.monotonic() - started) < START_S:
        pod = core.read_namespaced_pod(name, namespace)
        if pod.status.phase == "Succeeded":
            return ""
        problem = why(pod)
        if pod.status.phase == "Failed":
            last = _log(core, namespace, name, tail_lines=3).strip().replace("\n", " / ")
            return f"the probe failed ({problem}): {last}"
        if problem and not (problem.startswith(NO_PLACE) and waited < UNSCHEDULABLE_S):
            return problem
        time.sleep(POLL_S)
    return f"the Pod did not end within {START_S} s"


def _log(core: Any, namespace: str, name: str, **options: Any) -> str:
    """A Pod's log as it is; the client would make a Python object of a single line of JSON, and text of that."""
    answer = core.read_namespaced_pod_log(name, namespace, _preload_content=False, **options)
    return answer.data.decode(errors="replace")
