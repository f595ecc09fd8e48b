"""Why a Pod failed or does not start: one table of what Kubernetes says, for all who ask."""

import json
from types import SimpleNamespace

import pytest
from kubernetes.client import ApiClient

from components.lib.inside import NO_PLACE, why
from tests.fixtures.kube_server import pod


def ended(code, reason="Error"):
    return {"terminated": {"exitCode": code, "reason": reason}}


def waits(reason, **more):
    return {"waiting": {"reason": reason, **more}}


def unplaced(**more):
    return [{"type": "PodScheduled", "status": "False", **more}]


GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
MEMORY = "The node was low on resource: memory."


@pytest.mark.parametrize(
    ("phase", "status", "said"),
    [
        ("Running", {"state": {"running": {}}}, ""),
        ("Succeeded", {"state": ended(0, "Completed")}, ""),
        ("Failed", {"state": ended(137, "OOMKilled")}, "OOMKilled, exit code 137"),
        ("Failed", {"state": ended(1)}, "Error, exit code 1"),
        ("Failed", {"state": ended(1, None)}, "Error, exit code 1"),
        ("Running", {"state": ended(1)}, "Error, exit code 1"),  # while Argo's container still works
        ("Failed", {"state": ended(1), "reason": "DeadlineExceeded"}, "Error, exit code 1"),
        ("Failed", {"containerStatuses": None, "reason": "Evicted", "message": MEMORY}, f"Evicted: {MEMORY}"),
        ("Failed", {"containerStatuses": [], "reason": "DeadlineExceeded"}, "DeadlineExceeded"),
        ("Failed", {"state": ended(0)}, "Failed"),
        ("Pending", {"containerStatuses": None}, ""),
        ("Pending", {"state": waits("ContainerCreating")}, ""),
        ("Pending", {"state": waits("ImagePullBackOff", message="no such tag")}, "ImagePullBackOff: no such tag"),
        ("Pending", {"state": waits("ErrImagePull")}, "ErrImagePull: registry.example/data:1"),
        ("Pending", {"state": waits("CreateContainerConfigError", message='secret "x" not found')},
         'CreateContainerConfigError: secret "x" not found'),
        ("Pending", {"containerStatuses": None, "conditions": unplaced(message=GPU)}, f"{NO_PLACE}{GPU}"),
        ("Pending", {"containerStatuses": None, "conditions": unplaced()}, NO_PLACE),
        ("Running", {"state": {"running": {}}, "conditions": unplaced(message=GPU)}, ""),
    ],
)  # fmt: skip
def test_what_kept_a_pod_from_working_is_named(phase, status, said):
    assert why(read(pod("p", "sft", phase=phase, **status))) == said


@pytest.mark.parametrize(
    ("name", "said"), [("node", "Error, exit code 3"), ("probe", "Error, exit code 3"), ("x", "Failed")]
)
def test_the_working_containers_count_and_no_other(name, said):
    found = pod("p", "sft", phase="Failed", state=ended(3))
    found["status"]["containerStatuses"][1]["name"] = name
    assert why(read(found)) == said


def read(value):
    """The client's object of a Pod in JSON."""
    return ApiClient().deserialize(SimpleNamespace(data=json.dumps(value)), "V1Pod")
