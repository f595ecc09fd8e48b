"""Pods that do not start: what is said of them, which are a fault, and how their run is ended."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from kubernetes import client

from components.lib.cluster import starting
from components.lib.cluster.step_pod import GPU_RESOURCE, START_TIMEOUT
from components.lib.inside import ENDED_BY
from tests.fixtures.kube_server import RUN

NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
NO_CLAIM = '0/1 nodes are available: persistentvolumeclaim "grpo-cache" not found.'


def pod(name, step, *, phase="Pending", unplaced="", placed_s=None, waits="", age_s=700.0, gpu=False):
    """A step's Pod: without a node for the reason `unplaced`, or placed before `placed_s` with `waits` of its image."""
    now = datetime.now(UTC)
    made = now - timedelta(seconds=age_s)
    conditions = [client.V1PodCondition(type="PodScheduled", status="False", message=unplaced)] if unplaced else []
    if placed_s is not None:
        since = now - timedelta(seconds=placed_s)
        conditions = [client.V1PodCondition(type="PodScheduled", status="True", last_transition_time=since)]
    waiting = client.V1ContainerStateWaiting(reason=waits, message="no such tag") if waits else None
    status = client.V1ContainerStatus(
        name="main", image="i", image_id="", ready=False, restart_count=0,
        state=client.V1ContainerState(waiting=waiting),
    )  # fmt: skip
    limits = client.V1ResourceRequirements(limits={GPU_RESOURCE: "1"} if gpu else {})
    words = ["--function_to_execute", step] if step else ["--type", "CONTAINER"]
    box = client.V1Container(name="main", args=words, resources=limits)
    return client.V1Pod(
        metadata=client.V1ObjectMeta(
            name=name, namespace="ns", labels={"pipeline/runid": RUN}, creation_timestamp=made,
            annotations={START_TIMEOUT: "600"} if step else None,
        ),
        spec=client.V1PodSpec(containers=[box], node_name=None if unplaced else "node"),
        status=client.V1PodStatus(phase=phase, conditions=conditions, container_statuses=[status]),
    )  # fmt: skip


class Cluster:
    """Pods, and the Workflow of the run; `patches` are what it was changed by."""

    def __init__(self, *pods, **spec):
        self.pods, self.patches = pods, []
        self.workflow = {"metadata": {"name": "w", "labels": {"pipeline/runid": RUN}}, "spec": spec}

    def list_namespaced_pod(self, namespace, **_):
        return SimpleNamespace(items=list(self.pods))

    def list_pod_for_all_namespaces(self, **_):
        raise client.ApiException(status=403)

    def list_namespaced_event(self, namespace, **_):
        event = SimpleNamespace(last_timestamp="1", event_time=None, reason="FailedMount", message="no secret 'x'")
        return SimpleNamespace(items=[event])

    def list_namespaced_custom_object(self, *_, label_selector, **__):
        """Argo labels a Workflow that works completed=false."""
        assert label_selector in ("workflows.argoproj.io/completed!=true", f"pipeline/runid={RUN}")
        return {"items": [self.workflow]}

    def patch_namespaced_custom_object(self, group, version, namespace, plural, name, change):
        self.patches.append(change)


@pytest.mark.parametrize(
    ("found", "said", "overdue"),
    [
        (pod("p", "sft", unplaced=NO_CLAIM), NO_CLAIM, True),
        (pod("p", "sft", unplaced=NO_CLAIM, age_s=30), NO_CLAIM, False),
        (pod("p", "sft", placed_s=650, waits="ImagePullBackOff"), "ImagePullBackOff: no such tag", True),
        # Its time begins when it has got its node.
        (pod("p", "sft", placed_s=60, waits="ImagePullBackOff", age_s=9000), "ImagePullBackOff: no such tag", False),
        (pod("p", "sft", placed_s=650), "FailedMount: no secret 'x'", True),
        (pod("p", "sft", unplaced=NO_GPU), NO_GPU, True),
        (pod("p", "", unplaced=NO_CLAIM), NO_CLAIM, False),  # a driver has 1800 s
    ],
)
def test_it_is_said_why_a_pod_waits_and_after_its_time_that_is_a_fault(found, said, overdue):
    (one,) = starting.waiting(Cluster(found), "ns", "")
    assert (str(one), one.overdue) == (said, overdue)


def test_waiting_for_a_gpu_that_another_pod_holds_is_no_fault():
    holder = pod("h", "grpo", phase="Running", placed_s=900, gpu=True)
    (one,) = starting.waiting(Cluster(pod("p", "evaluate", unplaced=NO_GPU, gpu=True), holder), "ns", "")
    assert not one.overdue and str(one) == f"{NO_GPU} (held by grpo of run {RUN})"


@pytest.mark.fault("a step's Pod cannot start: a claim that is not there")
def test_its_run_is_ended_with_the_reason_and_the_exit_handler_is_spared(monkeypatch, capsys, seen):
    monkeypatch.setattr(starting, "APART_S", 0)
    cluster = Cluster(pod("p", "sft", unplaced=NO_CLAIM))
    starting.end_overdue(cluster, cluster, "ns")
    why = f"could not start within 600 s: {NO_CLAIM}"
    assert cluster.patches == [
        {"spec": {"activeDeadlineSeconds": 0}, "metadata": {"annotations": {ENDED_BY: f"sft: {why}"}}}
    ]
    printed = capsys.readouterr().out
    assert printed == f"run {RUN}: sft {why}; the run is ended\n"
    cluster.workflow["spec"] = cluster.patches[0]["spec"]
    starting.end_overdue(cluster, cluster, "ns")
    assert len(cluster.patches) == 1, "while Argo deletes the Pod the exit handler is still spared"
    seen(printed)


def test_an_exit_handler_that_does_not_start_is_ended_with_all_the_rest():
    cluster = Cluster(pod("p", "notify", unplaced=NO_CLAIM), activeDeadlineSeconds=0)
    (late,) = starting.waiting(cluster, "ns", "")
    starting.end(cluster, "ns", late)
    assert cluster.patches[0]["spec"] == {"shutdown": "Terminate"}


def test_a_pod_that_waits_at_one_look_and_not_at_the_next_is_left_alone(monkeypatch):
    monkeypatch.setattr(starting, "APART_S", 0)
    cluster = Cluster(pod("p", "sft", unplaced=NO_GPU, gpu=True))
    looks = iter([cluster.pods, (), cluster.pods])
    monkeypatch.setattr(cluster, "list_namespaced_pod", lambda *_, **__: SimpleNamespace(items=list(next(looks))))
    monkeypatch.setattr(starting, "gpu_holder", lambda *_: "")
    assert starting.end_overdue(cluster, cluster, "ns") == [] and not cluster.patches
