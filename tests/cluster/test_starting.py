"""Pods that cannot start, each broken in another way on a real cluster: what is said of them, and what is a fault."""

import json
import time

import pytest

from components.lib.cluster import pods
from components.lib.cluster.starting import waiting
from components.lib.cluster.step_pod import GPU_RESOURCE, START_TIMEOUT, USER
from tests.cluster.conftest import kubectl

pytestmark = pytest.mark.cluster

CLAIM = {"name": "v", "persistentVolumeClaim": {"claimName": "nowhere"}}
SECRET = {"name": "v", "secret": {"secretName": "nothing"}}
KEY = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "nothing", "key": "x"}}}
BROKEN = {
    "no-claim": ({"volume": CLAIM}, 'persistentvolumeclaim "nowhere" not found'),
    "no-image": ({"image": "grpo-pipeline/data:there-is-no-such-tag"}, "there-is-no-such-tag"),
    "no-secret": ({"env": [KEY]}, 'CreateContainerConfigError: secret "nothing" not found'),
    "no-volume": ({"volume": SECRET}, 'FailedMount: MountVolume.SetUp failed for volume "v" : secret "nothing" not'),
    "no-gpu": ({"limits": {GPU_RESOURCE: "99"}}, f"Insufficient {GPU_RESOURCE}"),
}  # fmt: skip


def step(name, *, image="debian:bookworm-slim", volume=None, env=(), limits=None):
    """A Pod like a step's of a run of its own, which may take a second to start."""
    box = {
        "name": "main", "image": image, "command": ["sleep", "1", "--function_to_execute", "sft"], "env": list(env),
        "resources": {"limits": limits or {}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}] if volume else [],
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
    }  # fmt: skip
    about = {"name": name, "labels": {"pipeline/runid": name}, "annotations": {START_TIMEOUT: "1"}}
    spec = {"containers": [box], "restartPolicy": "Never", "volumes": [volume] if volume else []}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}


@pytest.mark.parametrize("name", BROKEN)
def test_a_pod_that_cannot_start_is_overdue_and_its_reason_is_said(namespace, name):
    changes, said = BROKEN[name]
    kubectl("-n", namespace, "apply", "-f", "-", given=json.dumps(step(name, **changes)))
    core, deadline = pods.kubernetes_client().CoreV1Api(), time.monotonic() + 90
    while True:
        (found,) = waiting(core, namespace, f"pipeline/runid={name}")
        if said in found.reason and found.overdue:
            break
        assert time.monotonic() < deadline, found
        time.sleep(1)
    assert (found.run_id, found.step, found.timeout_s) == (name, "sft", 1)
