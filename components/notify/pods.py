"""Which step's Pod failed, and what it last said, for a run whose steps could not tell themselves.

Asked with the service account of the exit handler's own Pod, which needs to `list` Pods and to `get` their logs; KFP's
pipeline-runner may, manifests/overlays/kubeflow grants it. What is refused or gone leaves the answer poorer, no more.
"""

from typing import Any

from components.lib import inside
from components.lib.ending import ENDED
from components.lib.registry.outcome import Failure
from components.lib.registry.record import LOG_LINES, redact


def investigate(run_id: str, known: Failure | None, pod: str | None) -> Failure | None:
    """The failure with the Pod's own reason and last lines; `known` and `pod` are what the records say, if they do.

    Without a record the run's Pods are looked through; where they are gone, what Kubeflow Pipelines calls failed.
    """
    pods = inside.pods_of(run_id)
    if known:
        found = next((p for p in pods if p.metadata.name == pod), None)
        reason, log = (redact(inside.why(found)), _log(found)) if found else ("", [])
        silent = known.why if known.why.startswith(ENDED) else "died before it could say why"
        why = f"{silent}: {reason}" if reason else known.why
        return Failure(step=known.step, why=why, log=log or known.log)
    for found in reversed(pods):
        if reason := redact(inside.why(found)):
            log = _log(found)
            last = f": {log[-1].strip()}" if log else ""
            return Failure(step=inside.function_of(found), why=f"failed: {reason}{last}", log=log)
    for name, error in inside.failed_tasks(run_id):
        reason = redact(error) or "its Pod is gone, and Kubeflow Pipelines names no reason"
        return Failure(step=name, why=f"failed: {reason}", log=[])
    return None


def _log(pod: Any) -> list[str]:
    return [redact(line) for line in inside.log_of(pod.metadata.name, LOG_LINES)]
