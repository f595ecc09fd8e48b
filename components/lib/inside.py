"""Asking Kubernetes and Kubeflow Pipelines from inside a step's Pod, with the rights of its service account.

Outside a Pod there is nobody to ask; every question is then answered with None or nothing, and so is one that the
account may not ask. The packages that ask take half a second to import, so functions do it, and only in a Pod.
"""

import base64
import gzip
import json
import os
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
POD_VARIABLE = "KFP_POD_NAME"  # set by KFP; the host name of a Pod with a long name is cut off
PIPELINES_VARIABLE = "KF_PIPELINES_ENDPOINT"
PIPELINES = "http://ml-pipeline.kubeflow:8888"
ARGO = ("argoproj.io", "v1alpha1")
ENDED_BY = "grpo-pipeline/ended-because"  # annotation of a Workflow that lib/cluster/starting.py has ended: STEP: why
ASK_S = 5
TOLD_TO_END = 143  # the exit status after SIGTERM
DONE = ("Succeeded", "Failed", "Error")  # phases in which a Workflow stays
MAIN = "main"  # the container of a step's Pod that does the work
WORKERS = (MAIN, "node", "probe")  # the same, and those of a TrainJob's Pod and of doctor's
# What a container waits for that will not come by itself.
STUCK = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "ErrImageNeverPull")
NO_PLACE = "no place: "  # begins the one reason of `why` that may pass
# KFP's own nodes: attempts as `sft(0)`, Pods and drivers, the groups of the DAG.
INNER = re.compile(r".*\)|.*-driver|root|executor|(condition|exit-handler|grpo-pipeline)-.*")
_DRIVER = re.compile(r"((.*)-driver)(?:\(\d+\))?")
# What KFP's launcher and Argo's executor print around a step's own lines.
_NOISE = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ |time=\S+ level=\w+ msg=.*argo=true|Error: exit status \d+$")
_NOISE_LINES = 100  # at most, around a step's end


def own_pod() -> str | None:
    """The name of this Pod."""
    return os.environ.get(POD_VARIABLE)


def is_elsewhere(path: Path) -> bool:
    """Whether an absolute path lies on no volume of this Pod: nothing of it is here. Outside a Pod none does."""
    return bool(own_pod()) and not any(part.exists() for part in (path, *path.parents[:-1]))


def own_namespace() -> str:
    """The namespace of this Pod."""
    return (ACCOUNT / "namespace").read_text(encoding="utf-8").strip()


def own_image() -> str | None:
    """The image of this Pod by digest, as the node pulled it."""
    name = own_pod()
    pod = _ask("read_namespaced_pod", name) if name else None
    statuses = (pod.status.container_statuses or []) if pod and pod.status else []
    return next((status.image_id or None for status in statuses if status.name == MAIN), None)


def pods_of(run_id: str) -> list[Any]:
    """The Pods (V1Pod) of a run's steps, without KFP's drivers, in the order in which they were made."""
    found = _ask("list_namespaced_pod", label_selector=f"pipeline/runid={run_id}")
    steps = [pod for pod in (found.items if found else []) if function_of(pod)]
    return sorted(steps, key=lambda pod: str(pod.metadata.creation_timestamp))


def workflow_of(run_id: str) -> dict[str, Any] | None:
    """Argo's Workflow of a run; None if there is none any more, or nobody tells."""
    found = _ask("list_namespaced_custom_object", *ARGO, plural="workflows", label_selector=f"pipeline/runid={run_id}")
    return next(iter(found["items"]), None) if found else None


def phase_of(run_id: str) -> str:
    """The phase of a run's Workflow, empty if it has none yet or nobody tells."""
    return ((workflow_of(run_id) or {}).get("status") or {}).get("phase") or ""


def nodes_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """Argo's nodes of a Workflow, which it packs where they grow beyond 1 MB."""
    status = workflow.get("status") or {}
    packed = status.get("compressedNodes")
    nodes = json.loads(gzip.decompress(base64.b64decode(packed))) if packed else status.get("nodes") or {}
    return list(nodes.values())


def broken_drivers(workflow: dict[str, Any]) -> list[tuple[str, str]]:
    """(task, message of the last attempt) of what Kubeflow's driver could not start in a Workflow, the earliest first.

    An attempt is called as the driver, with its number; one that a later attempt has made good does not count.
    """
    nodes = nodes_of(workflow)
    good = {node["displayName"] for node in nodes if node.get("phase") == DONE[0]}
    broken = [
        (str(node.get("startedAt")), found[2], node.get("message") or "")
        for node in nodes
        if node["type"] == "Pod" and node["phase"] in DONE[1:]
        if (found := _DRIVER.fullmatch(node["displayName"])) and found[1] not in good
    ]
    return list({task: message for _, task, message in sorted(broken)}.items())


def was_terminated(workflow: dict[str, Any]) -> bool:
    """Whether somebody asked for a Workflow's end: Kubeflow Pipelines by a deadline of 0, Argo by `shutdown`."""
    spec = workflow["spec"]
    return spec.get("activeDeadlineSeconds") == 0 or bool(spec.get("shutdown"))


def why_ended(workflow: dict[str, Any]) -> str:
    """Why the whole Workflow was ended before its time, whatever its steps did; empty if it was not."""
    if was_terminated(workflow):
        return "somebody ended the run"
    limit, started = workflow["spec"].get("activeDeadlineSeconds"), (workflow.get("status") or {}).get("startedAt")
    late = limit and started and time.time() > datetime.fromisoformat(started).timestamp() + limit
    return f"the limit of the whole run, {limit} s, has passed" if late else ""


def function_of(pod: Any) -> str:
    """The name of the step's function that a Pod runs; empty for KFP's own Pods."""
    main = next((container for container in pod.spec.containers if container.name == MAIN), None)
    words = [*(main.command or []), *(main.args or [])] if main else []
    flag = "--function_to_execute"
    return words[words.index(flag) + 1] if flag in words[:-1] else ""


def log_of(pod: str, lines: int) -> list[str]:
    """The last lines that the step itself printed in a Pod."""
    options = {"container": MAIN, "tail_lines": lines + _NOISE_LINES, "_preload_content": False}
    answer = _ask("read_namespaced_pod_log", pod, **options)
    return own_lines(answer.data.decode(errors="replace") if answer else "")[-lines:]


def own_lines(log: str) -> list[str]:
    """The lines of a Pod's log that are the step's own, without those of KFP's launcher and Argo's executor."""
    return [line for line in log.splitlines() if line.strip() and not _NOISE.match(line)]


def failed_tasks(run_id: str) -> list[tuple[str, str]]:
    """(name, error) of the steps of a run that Kubeflow Pipelines calls failed, the latest first."""
    if not (ACCOUNT / "token").exists():
        return []
    import httpx2

    endpoint = (os.environ.get(PIPELINES_VARIABLE) or PIPELINES).rstrip("/")
    try:
        answer = httpx2.get(f"{endpoint}/apis/v2beta1/runs/{run_id}", timeout=ASK_S, follow_redirects=True)
        answer.raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        print(f"Kubeflow Pipelines does not tell: {error!r}", flush=True)
        return []
    try:
        return _failed(answer.json())
    except (ValueError, TypeError, AttributeError):  # a login page, or JSON of another form
        shown = " ".join(answer.text[:200].split())
        print(f"Kubeflow Pipelines does not tell: {endpoint} answers with no run but {shown!r}", flush=True)
        return []


def _failed(run: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, error) of what failed in a run's JSON; ValueError, TypeError or AttributeError if it is none."""
    if "run_id" not in run:
        raise ValueError("a run without id")
    failed = [
        task for task in (run.get("run_details") or {}).get("task_details") or [] if task.get("state") == "FAILED"
    ]
    failed.sort(key=lambda task: str(task.get("create_time")), reverse=True)
    named = [(task.get("display_name") or "", str((task.get("error") or {}).get("message", ""))) for task in failed]
    return [(name, error) for name, error in named if name and not INNER.fullmatch(name)]


def why(pod: Any) -> str:
    """Why a Pod (V1Pod) failed or does not start, as Kubernetes says; empty if it is well.

    A text that begins with NO_PLACE may pass by itself: a node may come free, or the scheduler only be slow.
    """
    status = pod.status
    for found in (*(status.init_container_statuses or []), *(status.container_statuses or [])):
        ended, waiting = found.state.terminated, found.state.waiting
        told_to_end = ended and ended.exit_code == TOLD_TO_END and status.reason  # which says more: Evicted
        if ended and ended.exit_code and found.name in WORKERS and not told_to_end:
            return f"{ended.reason or 'Error'}, exit code {ended.exit_code}"
        if waiting and waiting.reason in STUCK:
            return f"{waiting.reason}: {waiting.message or found.image}"
    if status.phase == "Failed":
        return ": ".join(part for part in (status.reason, status.message) if part) or "Failed"
    for condition in status.conditions or [] if status.phase == "Pending" else []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{NO_PLACE}{condition.message or ''}"
    return ""


def unreachable() -> tuple[type[Exception], ...]:
    """The errors of an API server of Kubernetes that cannot be asked, or answered with no."""
    import kubernetes
    import urllib3

    return (kubernetes.config.ConfigException, urllib3.exceptions.HTTPError, kubernetes.client.ApiException)


def reason(error: Exception) -> str:
    """The first line of such an error, without the address of Python objects."""
    return str(getattr(error, "reason", error)).splitlines()[0][:200]


def _ask(method: str, *given: str | None, **options: Any) -> Any | None:
    """What a method of CoreV1Api, or of CustomObjectsApi, answers for this Pod's namespace.

    None outside a Pod, or if it is refused. `given` comes before the namespace.
    """
    if not (ACCOUNT / "token").exists():
        return None
    import kubernetes

    loader = kubernetes.config.incluster_config.InClusterConfigLoader(ACCOUNT / "token", ACCOUNT / "ca.crt")
    configuration = kubernetes.client.Configuration()
    configuration.retries = 0
    try:
        loader.load_and_set(configuration)
        api = kubernetes.client.CustomObjectsApi if "custom_object" in method else kubernetes.client.CoreV1Api
        asked = api(kubernetes.client.ApiClient(configuration))
        return getattr(asked, method)(*given, own_namespace(), _request_timeout=ASK_S, **options)
    except unreachable() as error:
        print(f"Kubernetes does not tell: {reason(error)}", flush=True)
    except (ValueError, TypeError, AttributeError) as error:  # what it answers is not what it promises
        print(f"Kubernetes does not tell: {method} answers with something else ({error})", flush=True)
    return None
