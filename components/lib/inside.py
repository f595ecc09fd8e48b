"""Asking Kubernetes and Kubeflow Pipelines from inside a step's Pod, with the rights of its service account.

The images hold a Kubernetes client (trainjob.py needs it), but every step asks here, and little: a few GETs with short
timeouts are no reason for a second of imports. Outside a Pod there is nobody to ask; every question is then answered
with None or nothing, and so is one that the account may not ask.
"""

import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
POD_VARIABLE = "KFP_POD_NAME"  # set by KFP; the host name of a Pod with a long name is cut off
PIPELINES_VARIABLE = "KF_PIPELINES_ENDPOINT"
PIPELINES = "http://ml-pipeline.kubeflow:8888"
ASK_S = 5
MAIN = "main"  # the container of a step's Pod that does the work
# KFP's own nodes: attempts as `sft(0)`, Pods and drivers, the groups of the DAG.
INNER = re.compile(r".*\)|.*-driver|root|executor|(condition|exit-handler|grpo-pipeline)-.*")
# What KFP's launcher and Argo's executor print around a step's own lines.
_NOISE = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ |time=\S+ level=\w+ msg=.*argo=true|Error: exit status \d+$")
_NOISE_LINES = 100  # at most, around a step's end


def own_pod() -> str | None:
    """The name of this Pod."""
    return os.environ.get(POD_VARIABLE)


def own_image() -> str | None:
    """The image of this Pod by digest, as the node pulled it."""
    name = own_pod()
    pod = get_json(f"pods/{name}") if name else None
    return next((s.get("imageID") or None for s in statuses(pod) if s["name"] == MAIN), None)


def pods_of(run_id: str) -> list[dict[str, Any]]:
    """The Pods of a run's steps, without KFP's drivers, in the order in which they were made."""
    selector = urllib.parse.quote(f"pipeline/runid={run_id}")
    found = (get_json(f"pods?labelSelector={selector}") or {}).get("items", [])
    steps = [pod for pod in found if function_of(pod)]
    return sorted(steps, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))


def function_of(pod: dict[str, Any]) -> str:
    """The name of the step's function that a Pod runs; empty for KFP's own Pods."""
    main: dict[str, Any] = next((c for c in pod["spec"]["containers"] if c["name"] == MAIN), {})
    words = [*main.get("command", []), *main.get("args", [])]
    flag = "--function_to_execute"
    return words[words.index(flag) + 1] if flag in words[:-1] else ""


def log_of(pod: str, lines: int) -> list[str]:
    """The last lines that the step itself printed in a Pod."""
    data = get(f"pods/{pod}/log?container={MAIN}&tailLines={lines + _NOISE_LINES}") or b""
    found = [line for line in data.decode(errors="replace").splitlines() if line.strip() and not _NOISE.match(line)]
    return found[-lines:]


def failed_tasks(run_id: str) -> list[tuple[str, str]]:
    """(name, error) of the steps of a run that Kubeflow Pipelines calls failed, the latest first."""
    endpoint = (os.environ.get(PIPELINES_VARIABLE) or PIPELINES).rstrip("/")
    if not (ACCOUNT / "token").exists():
        return []
    data = _fetch(urllib.request.Request(f"{endpoint}/apis/v2beta1/runs/{run_id}"), None)
    details = (json.loads(data) if data else {}).get("run_details") or {}
    failed = [task for task in details.get("task_details") or [] if task.get("state") == "FAILED"]
    failed.sort(key=lambda task: str(task.get("create_time")), reverse=True)
    named = [(task.get("display_name") or "", (task.get("error") or {}).get("message", "")) for task in failed]
    return [(name, error) for name, error in named if name and not INNER.fullmatch(name)]


def statuses(pod: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The container statuses of a Pod."""
    return ((pod or {}).get("status") or {}).get("containerStatuses") or []


def get_json(path: str) -> Any | None:
    """The answer to `get` as JSON."""
    data = get(path)
    return None if data is None else json.loads(data)


def get(path: str) -> bytes | None:
    """The answer of the API server to a question about this Pod's namespace; None outside a Pod or if refused."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (ACCOUNT / "token").exists():
        return None
    namespace = (ACCOUNT / "namespace").read_text().strip()
    place = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(f"https://{place}:{port}/api/v1/namespaces/{namespace}/{path}")
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text().strip()}")
    return _fetch(request, ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt")))


def _fetch(request: urllib.request.Request, context: ssl.SSLContext | None) -> bytes | None:
    try:
        with urllib.request.urlopen(request, timeout=ASK_S, context=context) as answer:
            return answer.read()
    except (OSError, http.client.HTTPException) as error:
        print(f"{request.host} does not tell: {getattr(error, 'reason', '') or repr(error)}", flush=True)
        return None
