"""Watching a run on a cluster to its end: what each step does, what a Pod waits for, and how it ended."""

import time
from collections.abc import Callable
from typing import Any

from components.lib.cluster.api import ENDED
from components.lib.cluster.pods import kubernetes_client
from components.lib.cluster.starting import RUN_LABEL, Waiting, end, waiting
from components.lib.cluster.verdict import verdict
from components.lib.inside import reason, unreachable

POLL_S = 5
SILENT_S = 600  # for which a server that does not answer is asked again: a port-forward that broke may come back
TOLD_S = 20  # after which it is said why a Pod has not started
INTERRUPTED = 130  # the exit status of a command that was ended by Ctrl-C


def watch(client: Any, endpoint: str, namespace: str, run_id: str) -> int:
    """Print each step's start and end until the run has ended, and how it ended; 0 if that was well, else 1.

    A run whose Pod does not start within its time is ended. Ctrl-C ends the watching alone. Argo packs the nodes of a
    workflow that outgrows 1 MB, and KFP then reports no more steps: its word for how the run as a whole ended is
    right, that for the last steps may be missing.
    """
    try:
        run = asked(client, run_id)
        spec, seen = spec_of(client, run), Seen(namespace, run_id)
        names = step_names(spec)
        while run.state not in ENDED:
            seen.look(step_states(run, names))
            time.sleep(POLL_S)
            run = asked(client, run_id)
        states = step_states(run, names)
        seen.tell({name: state for name, state in states.items() if state in ENDED})  # what waits now never begins
        print(f"run {run_id}: ended after {seen.seconds():.0f} s, watched", flush=True)
        failed = [name for name, state in states.items() if state == "FAILED"]
        lines, well = verdict(endpoint, run, registry_of(run, spec), failed, seen.late)
        print("\n".join(lines), flush=True)
        return 0 if well else 1
    except KeyboardInterrupt:
        print(f"\nrun {run_id} goes on, unwatched")
        return INTERRUPTED


class Seen:
    """What has been told of a run: the states of its steps, and why its Pods wait; `name` begins each line."""

    def __init__(self, namespace: str, run_id: str, name: str = "") -> None:
        self.namespace, self.run_id, self.started = namespace, run_id, time.monotonic()
        self.name = f"{name}: " if name else ""
        self.states: dict[str, str] = {}
        self.told: set[tuple[str, str]] = set()  # of what, as a Pod, and what was said: why it waits, once each
        self.late: Waiting | None = None  # the Pod by which the run was ended
        try:
            self.kubernetes: Any = kubernetes_client()
        except unreachable() as error:
            self.kubernetes = None
            print(f"why a Pod waits is not told, Kubernetes cannot be asked: {reason(error)}", flush=True)

    def seconds(self) -> float:
        """For how long it has been watched."""
        return time.monotonic() - self.started

    def look(self, states: dict[str, str]) -> None:
        """Tell what is new, and end the run if one of its Pods is overdue."""
        self.tell(states)
        if not self.kubernetes:
            return
        try:
            for found in waiting(self.kubernetes.CoreV1Api(), self.namespace, f"{RUN_LABEL}={self.run_id}"):
                self._tell_of(found)
        except unreachable() as error:
            self._once("kubernetes", f"Kubernetes does not tell why a Pod waits: {reason(error)}")

    def tell(self, states: dict[str, str]) -> None:
        """A line for each step whose state has changed."""
        for name, state in states.items():
            if self.states.get(name) != state:
                self._line(f"{name}: {state.lower()}")
        self.states |= states

    def _tell_of(self, found: Waiting) -> None:
        if found.seconds > TOLD_S:
            self._once(found.pod, f"{found.step}: pending: {found}")
        if found.overdue:
            because = end(self.kubernetes.CustomObjectsApi(), self.namespace, found)
            self._once(f"{found.pod} is late", f"{found.step}: {because}; the run is ended")
            self.late = self.late or found

    def _once(self, about: str, text: str) -> None:
        if (about, text) not in self.told:
            self.told.add((about, text))
            self._line(text)

    def _line(self, text: str) -> None:
        print(f"[{self.seconds():5.0f} s] {self.name}{text}", flush=True)


def asked(client: Any, run_id: str) -> Any:
    """The run as KFP has it; a server that is silent for SILENT_S is a `ValueError`."""
    return patiently(lambda: client.get_run(run_id), f"how run {run_id} is doing")


def patiently(ask: Callable[[], Any], what: str) -> Any:
    """What KFP answers; that it is silent for SILENT_S, or refuses, is a `ValueError` with `what` it was asked."""
    from kfp_server_api.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    since = time.monotonic()
    told = False
    while True:
        try:
            return ask()
        except (HTTPError, ApiException) as error:
            status = getattr(error, "status", None) or 503
            if status < 500 or time.monotonic() - since > SILENT_S:
                raise ValueError(f"Kubeflow Pipelines does not tell {what}: {error}") from None
            if not told:
                print(f"Kubeflow Pipelines does not answer; asking again for {SILENT_S} s", flush=True)
                told = True
            time.sleep(POLL_S)


def spec_of(client: Any, run: Any) -> dict[str, Any]:
    """The compiled pipeline of a run: its own, or that of the uploaded version that it was made from."""
    version = run.pipeline_version_reference
    spec = run.pipeline_spec
    if not spec:
        spec = client.get_pipeline_version(version.pipeline_id, version.pipeline_version_id).pipeline_spec
    return spec.get("pipeline_spec", spec)


def registry_of(run: Any, spec: dict[str, Any]) -> str:
    """The registry of a run: its parameter, else the pipeline's default."""
    given = (run.runtime_config and run.runtime_config.parameters) or {}
    return given.get("registry") or spec["root"]["inputDefinitions"]["parameters"]["registry"].get("defaultValue", "")


def step_names(spec: dict[str, Any]) -> dict[str, str]:
    """Task name -> display name of each step of a compiled pipeline, without the groups around them."""
    found = spec["components"]
    dags = [spec["root"]["dag"], *(part["dag"] for part in found.values() if "dag" in part)]
    tasks = [item for dag in dags for item in dag["tasks"].items()]
    return {
        name: task["taskInfo"]["name"] for name, task in tasks if "executorLabel" in found[task["componentRef"]["name"]]
    }


def step_states(run: Any, names: dict[str, str]) -> dict[str, str]:
    """State of each step of a run by its display name, in the order in which they began."""
    details = run.run_details.task_details if run.run_details else None
    return {
        names[task.display_name]: task.state or "PENDING"
        for task in sorted(details or [], key=lambda task: str(task.create_time))
        if task.display_name in names
    }
