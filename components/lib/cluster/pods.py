"""A Pod that a step would resemble: its manifest, and running it to its end."""

import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.lib.cluster.placement import (
    CACHE,
    CHECKPOINTS,
    GPU_RESOURCE,
    HUB_CACHE,
    S3_SECRET_KEYS,
    SECRET_KEYS,
    USER,
    kernel_caches,
    mebibytes,
    node_label,
    requests,
    threads,
    toleration,
)
from components.lib.recipe.schema import Cluster

START_S = 900  # the trainer's image is large
UNSCHEDULABLE_S = 15  # the scheduler may take a moment to find a place
POLL_S = 1
STUCK = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "ErrImageNeverPull")


@dataclass(frozen=True)
class Outcome:
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


def unreachable() -> tuple[type[Exception], ...]:
    """The errors of an API server that cannot be asked."""
    import kubernetes
    import urllib3

    return (kubernetes.config.ConfigException, urllib3.exceptions.HTTPError, kubernetes.client.ApiException)


def refused() -> Any:
    """The error of a question that the API server answered with no."""
    import kubernetes

    return kubernetes.client.ApiException


def reason(error: Exception) -> str:
    """The first line of an error, without the address of Python objects."""
    return str(getattr(error, "reason", error)).splitlines()[0][:200]


def probe_pod(
    cluster: Cluster, image: str, heavy: bool, *, asks: Sequence[str] = (), service_account: str = ""
) -> dict[str, Any]:
    """The manifest of a Pod with the place, mounts, secrets and user of a step; see placement.py.

    `asks` are options of lib/cluster/probe.py: what is looked at beside the volumes, the Hub and the GPU.
    """
    used, mounts = volumes(cluster, heavy)
    folders = [mount["mountPath"] for mount in mounts if mount["name"] != "shm"]
    command = ["python3", "-m", "components.lib.cluster.probe", "look", *folders, *asks]
    command += ["--gpu"] if heavy and cluster.gpus else []
    container = {
        "name": "probe", "image": image, "command": command, "imagePullPolicy": cluster.image_pull_policy,
        "env": environment(cluster, heavy), "volumeMounts": mounts, "resources": _resources(cluster, heavy),
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
    }  # fmt: skip
    spec: dict[str, Any] = {"restartPolicy": "Never", "containers": [container], "volumes": used}
    if heavy:
        spec["nodeSelector"] = dict(node_label(text) for text in cluster.node_selector)
        spec["tolerations"] = [toleration(text) for text in cluster.tolerations]
    if service_account:
        spec["serviceAccountName"] = service_account
    if cluster.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": cluster.image_pull_secret}]
    name = f"grpo-doctor-{'trainer' if heavy else 'data'}-{secrets.token_hex(3)}"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def run(core: Any, namespace: str, manifest: dict[str, Any]) -> Outcome:
    """Create a Pod, wait for its end and delete it; what keeps it from starting is found within seconds."""
    name = manifest["metadata"]["name"]
    try:
        core.create_namespaced_pod(namespace, manifest)
    except unreachable() as error:
        return Outcome("", f"the API server refuses the Pod: {getattr(error, 'body', error)}")
    try:
        problem = _wait(core, namespace, name)
        return Outcome("" if problem else _log(core, namespace, name), problem)
    except unreachable() as error:
        return Outcome("", f"the Pod {name} is gone or cannot be read: {reason(error)}")
    finally:
        with contextlib.suppress(*unreachable()):
            core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)


def _wait(core: Any, namespace: str, name: str) -> str:
    started = time.monotonic()
    while time.monotonic() - started < START_S:
        pod = core.read_namespaced_pod(name, namespace)
        if pod.status.phase in ("Succeeded", "Failed"):
            return "" if pod.status.phase == "Succeeded" else _ending(core, namespace, name)
        if problem := stuck(pod, time.monotonic() - started):
            return problem
        time.sleep(POLL_S)
    return f"the Pod did not end within {START_S} s"


def stuck(pod: Any, seconds: float) -> str:
    """Why a Pod will not start by itself, empty while it may."""
    for status in pod.status.container_statuses or []:
        waiting = status.state.waiting
        if waiting and waiting.reason in STUCK:
            return f"{waiting.reason}: {waiting.message or status.image}"
    for condition in pod.status.conditions or [] if seconds > UNSCHEDULABLE_S else []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"no place: {condition.message}"
    return ""


def _log(core: Any, namespace: str, name: str, **options: Any) -> str:
    """A Pod's log as it is; the client would make a Python object of a single line of JSON, and text of that."""
    answer = core.read_namespaced_pod_log(name, namespace, _preload_content=False, **options)
    return answer.data.decode(errors="replace")


def _ending(core: Any, namespace: str, name: str) -> str:
    last = _log(core, namespace, name, tail_lines=3).strip().replace("\n", " / ")
    return f"the probe failed: {last}"


def volumes(cluster: Cluster, heavy: bool) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The volumes of a step's Pod and where its container mounts them."""
    places = [("cache", cluster.cache_claim, CACHE)]
    places += [("checkpoints", cluster.checkpoints_claim, CHECKPOINTS)] if heavy else []
    used = [place for place in places if place[1]]
    volumes: list[dict[str, Any]] = [{"name": n, "persistentVolumeClaim": {"claimName": c}} for n, c, _ in used]
    mounts = [{"name": name, "mountPath": path} for name, _, path in used]
    if heavy:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": mebibytes(cluster.shm_gib)}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    return volumes, mounts


def environment(cluster: Cluster, heavy: bool) -> list[dict[str, Any]]:
    """The environment of a step's container; secrets are references, all optional."""
    values = (kernel_caches() if heavy else {"HF_HOME": HUB_CACHE}) if cluster.cache_claim else {}
    if cluster.s3_endpoint:
        values["S3_ENDPOINT"] = cluster.s3_endpoint
    if heavy:
        values["OMP_NUM_THREADS"] = threads(cluster)
    if heavy and cluster.gpu_uuid:
        values["NVIDIA_VISIBLE_DEVICES"] = cluster.gpu_uuid
    found: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items()]
    for secret, keys in ((cluster.secret, {k: k for k in SECRET_KEYS}), (cluster.s3_secret, S3_SECRET_KEYS)):
        for key, variable in keys.items() if secret else ():
            source = {"secretKeyRef": {"name": secret, "key": key, "optional": True}}
            found.append({"name": variable, "valueFrom": source})
    return found


def _resources(cluster: Cluster, heavy: bool) -> dict[str, dict[str, str]]:
    """As the step's, for they decide where the Pod may go; the probe itself needs little."""
    limits = {GPU_RESOURCE: str(cluster.gpus)} if heavy and cluster.gpus else {}
    if heavy and cluster.memory_limit_gib:
        limits["memory"] = mebibytes(cluster.memory_limit_gib)
    return {"requests": requests(cluster, heavy), "limits": limits}
