"""Runs on a cluster with Kubeflow Pipelines: submitted, disturbed while a step works, and looked at afterwards.

with submitted({**CHANGES, "registry": registry}) as run:
    pod = run.pod_of("grpo", says="saved step")   # waits for a Pod of the step, and for words in its log
    drain(pod)                                    # or delete(pod)
    assert run.end() == 0, run.printed
"""

import base64
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from tests import ROOT
from tests.cluster.conftest import kubectl, objects
from tests.pipeline.test_end_to_end import SMALL

NAMESPACE = "kubeflow"
RUN_S = 1500
CHANGES = {**SMALL, "gate_force": "true", "cluster_gpus": "1", "cluster_node_selector": "kubernetes.io/os=linux",
           "cluster_tolerations": "nvidia.com/gpu:NoSchedule", "cluster_memory_limit_gib": "6",
           "cluster_gpu_uuid": "GPU-of-the-test", "grpo_max_steps": "60", "training_save_minutes": "0.01"}  # fmt: skip


class Run:
    """One `pipeline.py submit --wait` in the background."""

    def __init__(self, process):
        self.process, self.printed = process, ""
        head = process.stdout.readline()
        found = re.fullmatch(r"run .+: ([0-9a-f-]{36})\n", head)
        assert found, head + process.stdout.read()
        self.id = found[1]

    def pod_of(self, step, says="", running=True):
        """The newest Pod of a step once Argo knows that it runs (unless told not to ask) and its log holds `says`."""
        deadline = time.monotonic() + RUN_S
        while True:
            for pod in reversed(steps(self.id).get(step, [])):
                if (argo_saw_it_run(pod) or not running) and says in log_of(pod):
                    return pod
            assert time.monotonic() < deadline and self.process.poll() is None, f"{step} never ran"
            time.sleep(2)

    def end(self):
        """Wait for the end of the run; the exit status of `submit --wait`. What it printed is in `printed`."""
        self.printed += self.process.stdout.read()
        return self.process.wait()


@contextmanager
def submitted(changes, *arguments, environment=None):
    """A run of the tiny recipe with `changes` on top; terminated if the test does not see it end."""
    command = [sys.executable, "pipeline.py", "submit", "--wait", *arguments]
    command += [f"--set={name}={value}" for name, value in changes.items()]
    environment = {**os.environ, **(environment or {})}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        run = Run(process)
        try:
            yield run
        finally:
            if process.poll() is None:
                process.kill()
                kubectl("-n", NAMESPACE, "delete", "workflow", "-l", f"pipeline/runid={run.id}")


def number_after(words, text):
    """The last number that follows these words; -1 if there is none."""
    return max((int(found) for found in re.findall(rf"{words} (\d+)", text)), default=-1)


def delete(pod):
    """Delete a Pod, as a node does that is restarted."""
    kubectl("-n", NAMESPACE, "delete", "pod", pod["metadata"]["name"], "--wait=false")


def drain(pod):
    """Drain the Pod's node of the run's Pods, as before an update of the node, and open it again.

    Pods that have ended stay, to be looked at, and so does what else is on the only node of a test cluster.
    """
    node, run = pod["spec"]["nodeName"], pod["metadata"]["labels"]["pipeline/runid"]
    active = f"--pod-selector=pipeline/runid={run},workflows.argoproj.io/completed=false"
    try:
        kubectl("drain", node, "--force", "--ignore-daemonsets", "--delete-emptydir-data", active)
    finally:
        kubectl("uncordon", node)


def steps(run_id):
    """The Pods of a run's steps by the name of the step's function, in the order in which they were made."""
    found = {}
    for pod in sorted(
        objects("pods", NAMESPACE, "-l", f"pipeline/runid={run_id}"), key=lambda p: p["metadata"]["creationTimestamp"]
    ):
        main = next(c for c in pod["spec"]["containers"] if c["name"] == "main")
        words = [*main.get("command", []), *main.get("args", [])]
        if "--function_to_execute" in words:
            found.setdefault(words[words.index("--function_to_execute") + 1], []).append(pod)
    return found


def log_of(pod):
    """What the step has printed so far; empty if there is no log yet."""
    return kubectl("-n", NAMESPACE, "logs", pod["metadata"]["name"], "-c", "main", check=False).stdout


def nodes(workflow):
    """Argo's nodes of a workflow, which it packs when they grow."""
    packed = workflow["status"].get("compressedNodes")
    return json.loads(gzip.decompress(base64.b64decode(packed))) if packed else workflow["status"].get("nodes", {})


def argo_saw_it_run(pod):
    """Whether Argo knows that a Pod runs; one that it takes for pending is made anew without counting as an attempt."""
    about = pod["metadata"]
    name = about["labels"]["workflows.argoproj.io/workflow"]
    workflow = json.loads(kubectl("-n", NAMESPACE, "get", "workflow", name, "-o", "json"))
    return nodes(workflow).get(about["annotations"]["workflows.argoproj.io/node-id"], {}).get("phase") == "Running"


def lost_attempts(run_id):
    """(phase, message) of the attempts of a run whose Pod was deleted under Argo's eyes."""
    workflow = objects("workflows", NAMESPACE, "-l", f"pipeline/runid={run_id}")[0]
    pods = [node for node in nodes(workflow).values() if node["type"] == "Pod"]
    return [(node["phase"], node["message"]) for node in pods if "deleted" in node.get("message", "")]


def ended(client, run_id):
    """The state in which a run ends."""
    return client.wait_for_run_completion(run_id, timeout=RUN_S).state
