"""One attempt of a training as a TrainJob of Kubeflow Trainer v2: made, followed to its end, and deleted.

Called by the parent of a training (lib/training/supervise.py) in place of a local worker. A TrainJob says nothing of
itself before its end, and never why its Pods do not start, so that is read from the Pods and the events.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from components.lib import ending
from components.lib.cluster import images
from components.lib.cluster.api import message_of
from components.lib.cluster.follow import Follower
from components.lib.cluster.pods import GONE, if_there, kubernetes_client, refused
from components.lib.cluster.step_pod import GPU_RESOURCE, TRAINING, step_pod
from components.lib.files import link_tree, read_json, write_json
from components.lib.inside import NO_PLACE, own_namespace, reason, unreachable, why
from components.lib.machine import MACHINE
from components.lib.model.files import directory_of
from components.lib.model.names import EMBEDDED
from components.lib.recipe.schema import Cluster
from components.lib.recipe.settings import from_json
from components.lib.retry import Transient, retry
from components.lib.training.checkpoints import CURVES, FINISHED, INPUTS
from components.lib.training.job import Job, Result, Status
from components.lib.training.pace import Pace
from components.lib.training.supervise import result_of

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
PLACE_LABEL = "grpo-pipeline/place"
INSTALL = (
    'kubectl apply --server-side -k "https://github.com/kubeflow/trainer.git/manifests/overlays/manager?ref=v2.0.0", '
    "then `kubectl apply -k manifests/components/trainer`"
)
APPLY = "apply -k manifests/components/trainer"
TOO_MANY, BUSY = 429, 500  # HTTP statuses
POLL_S = 3
SILENT_S = 600  # that Kubernetes may not answer while a job runs
GONE_S = 120  # for the Pods of a deleted job to end
LAST_LINES = 15
# Kubernetes' own names for a Pod that was taken away, not for one that failed.
TAKEN_AWAY = ("OOMKilled", "Evicted", "Preempting", "NodeLost", "Shutdown", "Terminated", "DeadlineExceeded")


def launcher(cluster: str) -> Callable[[Job, int], Result] | None:
    """What `supervise.train` calls for each attempt, from the settings of the cluster as JSON.

    None, hence a local worker, if they are empty.
    """
    if not cluster:
        return None
    return lambda job, lock: TrainJobs(from_json(Cluster, cluster), own_namespace()).run(job)


class TrainJobs:
    """The TrainJobs of one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        client = kubernetes_client()
        self.cluster, self.namespace = cluster, namespace
        self.core, self.custom = client.CoreV1Api(), client.CustomObjectsApi()

    def run(self, job: Job) -> Result:
        """One attempt, and what it came to.

        `ValueError` if the job cannot start: no CRD or runtime, no right, no image, no room on a node, ...
        """
        self.delete_others(job.directory.name)
        job = with_inputs_on_the_volume(job)
        name = self._create(manifest(self.cluster, job))
        print(f"{job.stage}: TrainJob {name}, {job.scale.world} process(es) on {job.scale.nodes} node(s)", flush=True)
        try:
            follower = Follower(self.core, self.namespace, lambda: self.pods(name))
            with self._deleting_on_sigterm(name), contextlib.closing(follower):
                ended = self._ended(name, job, follower)
                if ended == "Complete":
                    self._note_image(name, job)
                    return result_of(job, 0)
                return self._failure(name, job) if ended == "Failed" else Result(Status.LOST, f"{name}: {ended}")
        finally:
            self._delete(name)

    def delete_others(self, place: str) -> None:
        """Delete what an earlier launcher of this place has left, and wait until nobody writes there any more."""
        left = self.custom.list_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, label_selector=f"{PLACE_LABEL}={place}"
        )["items"]
        for found in left:
            self._delete(found["metadata"]["name"])

    def pods(self, name: str) -> list[Any]:
        """The Pods of a TrainJob, by their rank."""
        found = self.core.list_namespaced_pod(
            self.namespace, label_selector=f"jobset.sigs.k8s.io/jobset-name={name}"
        ).items
        return sorted(found, key=lambda pod: int(pod.metadata.labels["batch.kubernetes.io/job-completion-index"]))

    def _create(self, manifest: dict[str, Any]) -> str:
        try:
            self.custom.create_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, manifest)
        except refused() as error:
            raise ValueError(why_refused(error, self.namespace, manifest["spec"]["runtimeRef"]["name"])) from None
        return manifest["metadata"]["name"]

    def _ended(self, name: str, job: Job, follower: Follower) -> str:
        """Follow a job until it is Complete or Failed, or hangs, which is said in a sentence.

        An API server that does not answer is asked again.
        """
        started = answered = time.monotonic()
        begun, pace = False, Pace(job.directory)
        while True:
            try:
                if ended := self._condition(name):
                    return ended
                if not begun:  # a Pod that waits for its node does not hang
                    begun, pace = self._begun(name, job, time.monotonic() - started), Pace(job.directory)
                follower.look()
                answered = time.monotonic()
            except unreachable() as error:
                if not (passing := may_pass(error)) or time.monotonic() - answered > SILENT_S:
                    raise
                print(f"{name}: {passing.reason}; asking again", flush=True)
            if begun and (hanging := pace.stalled()):
                return hanging
            time.sleep(POLL_S)

    def _condition(self, name: str) -> str | None:
        """Complete or Failed, None before the end; `ValueError` if somebody deleted the job."""
        found = if_there(self.custom.get_namespaced_custom_object, GROUP, VERSION, self.namespace, PLURAL, name)
        if found is None:
            raise ValueError(f"TrainJob {name} was deleted while it ran; start the run again")
        conditions = found.get("status", {}).get("conditions", [])
        return next(
            (c["type"] for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None
        )

    def _begun(self, name: str, job: Job, seconds: float) -> bool:
        """Whether all Pods run, or did; `ValueError` if one will not start by itself, or has not within the timeout."""
        pods = self.pods(name)
        if len(pods) == job.scale.nodes and all(pod.status.phase != "Pending" for pod in pods):
            return True
        problem = next((text for pod in pods if pod.status.phase == "Pending" and (text := why(pod))), "")
        late = seconds > job.scale.start_timeout_s
        if late or (problem and not problem.startswith(NO_PLACE)):
            found = problem or self._events(name) or f"{len(pods)} of {job.scale.nodes} Pods are there"
            raise ValueError(
                f"TrainJob {name} did not start within {seconds:.0f} s ({found}); fix that, or raise "
                "scale_start_timeout_s"
            )
        return False

    def _note_image(self, name: str, job: Job) -> None:
        """Put the image that the Pods ran into the note of what the training ran on."""
        path = job.directory / FINISHED / CURVES / MACHINE
        statuses = [status for pod in self.pods(name) for status in pod.status.container_statuses or []]
        if path.exists() and statuses:
            write_json(path, read_json(path) | {"image": statuses[0].image_id})

    def _failure(self, name: str, job: Job) -> Result:
        """What a job that failed came to; where no process could say why, the Pods' reasons do."""
        found = Result.read(job.directory)
        if found and found.status is not Status.TERMINATED:
            return found
        ended = {pod.metadata.name: text for pod in self.pods(name) if (text := why(pod) or _deleted(pod))}
        reasons = "; ".join(f"{pod}: {text}" for pod, text in ended.items())
        taken = found is not None or not reasons or any(word in reasons for word in TAKEN_AWAY)
        text = f"TrainJob {name} failed: {reasons or 'its Pods were deleted'}"
        if not taken:  # else the logs only tell how the others noticed
            text += "".join(f"; last lines of {pod}: {self._last_lines(pod)}" for pod in ended)
        return Result(Status.LOST if taken else Status.FAILED, text)

    def _last_lines(self, pod: str) -> str:
        try:
            log = self.core.read_namespaced_pod_log(pod, self.namespace, tail_lines=LAST_LINES)
        except refused() as error:
            return f"none ({reason(error)})"
        return " / ".join(line.strip() for line in log.splitlines() if line.strip())

    def _events(self, name: str) -> str:
        """The last warning that Kubernetes has about a job, its JobSet, its Job or its Pods."""
        events = self.core.list_namespaced_event(self.namespace).items
        mine = [e for e in events if (e.involved_object.name or "").startswith(name) and e.type == "Warning"]
        mine.sort(key=lambda e: str(e.last_timestamp or e.event_time or e.metadata.creation_timestamp))
        return f"{mine[-1].reason}: {mine[-1].message}" if mine else ""

    @contextlib.contextmanager
    def _deleting_on_sigterm(self, name: str) -> Iterator[None]:
        """Ask for the job's end at once on SIGTERM: a run that is terminated leaves its steps less than a second."""

        def end(number: int) -> None:
            self._ask_for_end(name)
            ending.end(number)

        with ending.handling(end):
            yield

    def _delete(self, name: str) -> None:
        """Delete a job and wait until its Pods have ended, so that they write no more."""
        retry(lambda: self._ask_for_end(name), f"deleting TrainJob {name}", may_pass)
        deadline = time.monotonic() + GONE_S
        while left := [pod.metadata.name for pod in retry(lambda: self.pods(name), name, may_pass)]:
            if time.monotonic() > deadline:
                raise ValueError(
                    f"the Pods {', '.join(left)} of TrainJob {name} do not end and may still write; look at their "
                    f"node, then `kubectl -n {self.namespace} delete pod --force`"
                )
            time.sleep(1)

    def _ask_for_end(self, name: str) -> None:
        if_there(self.custom.delete_namespaced_custom_object, GROUP, VERSION, self.namespace, PLURAL, name)


def manifest(cluster: Cluster, job: Job) -> dict[str, Any]:
    """The TrainJob of one attempt: the trainer's image under torchrun, placed as a training step would be."""
    name = f"{job.directory.name}-{secrets.token_hex(2)}"  # longer than 48 characters, it would be taken and never run
    metadata: dict[str, Any] = {"name": name, "labels": {PLACE_LABEL: job.directory.name}}
    if owner := _owner():
        metadata["ownerReferences"] = [owner]
    each = job.scale.processes
    gpus = each if cluster.gpus else 0
    # No key of the bucket: the launching step alone writes the records and the result.
    pod = step_pod(cluster, heavy=True, secrets=TRAINING, bucket=False, processes=each, gpus=gpus)
    volumes, mounts = pod.volumes()
    limited = {name: count for name, count in pod.limits.items() if name == GPU_RESOURCE}
    return {
        "apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainJob", "metadata": metadata,
        "spec": {
            "runtimeRef": {"name": job.scale.runtime, "kind": "TrainingRuntime", "apiGroup": GROUP},
            "trainer": {
                "image": images.trainer(), "command": ["torchrun", "-m", "components.lib.training.worker"],
                "args": [job.text()], "numNodes": job.scale.nodes, "numProcPerNode": each,
                "resourcesPerNode": {"requests": pod.requests | limited, "limits": pod.limits},
                "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}, *pod.env()],
            },
            # What differs from the runtime's Pods: where they go, and which claims they mount.
            "podSpecOverrides": [
                {
                    "targetJobs": [{"name": "node"}], "nodeSelector": pod.selector, "tolerations": pod.tolerations,
                    "volumes": volumes, "containers": [{"name": "node", "volumeMounts": mounts}],
                }
            ],
        },
    }  # fmt: skip


def with_inputs_on_the_volume(job: Job) -> Job:
    """The job with data and model below its place, which its Pods share; a Hub model is fetched by them."""
    inputs = job.directory / INPUTS
    link_tree(job.data, inputs / "data")
    model = job.model
    if model not in EMBEDDED and (directory := directory_of(model)):
        link_tree(directory, inputs / "model")
        model = str(inputs / "model")
    return replace(job, data=inputs / "data", model=model)


def why_refused(error: Any, namespace: str, runtime: str) -> str:
    """What to do about an API server that refuses a TrainJob."""
    said = reason(error) if not getattr(error, "body", None) else message_of(error)
    if error.status == GONE:
        return f"the cluster knows no TrainJob: Kubeflow Trainer is not installed; {INSTALL}"
    if error.status == 403 and "runtime" in said.lower():
        return f"namespace {namespace} has no TrainingRuntime {runtime!r}; kubectl -n {namespace} {APPLY}"
    if error.status == 403:
        return f"this step's account may not make TrainJobs ({said}); apply the Role of manifests/components/trainer"
    return f"the API server refuses the TrainJob ({error.status}): {said}"


def may_pass(error: Exception) -> Transient | None:
    """Why an API server that cannot be asked may answer later; None if it has answered with no."""
    status = getattr(error, "status", None) or BUSY
    if not isinstance(error, unreachable()) or (status < BUSY and status != TOO_MANY):
        return None
    return Transient(f"Kubernetes does not answer: {reason(error)}")


def _owner() -> dict[str, Any] | None:
    """The Pod of the launching step, with which the job goes."""
    name, uid = os.environ.get("KFP_POD_NAME"), os.environ.get("KFP_POD_UID")
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid} if name and uid else None


def _deleted(pod: Any) -> str:
    return "Terminated" if pod.metadata.deletion_timestamp else ""
