"""What a TrainJob is made of, and what is said when the API server refuses it; the rest is tested on a cluster."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.lib.cluster import images, trainjob
from components.lib.cluster.follow import Follower
from components.lib.files import read_jsonl, write_jsonl
from components.lib.recipe.recipes import QWEN
from components.lib.recipe.settings import replace
from components.lib.training import pace
from components.lib.training.checkpoints import TrainingDir
from components.lib.training.job import Job

SCALE = replace(QWEN.scale, nodes=2, processes=4)


@pytest.fixture
def job(tmp_path):
    (tmp_path / "data").mkdir()
    write_jsonl(tmp_path / "data" / "rows.jsonl", [{"id": "a"}])
    (tmp_path / "policy").mkdir()
    write_jsonl(tmp_path / "policy" / "weights.jsonl", [{"w": 1}])
    directory = TrainingDir.of(tmp_path / "checkpoints", "grpo", {"seed": 0})
    return Job(stage="grpo", model=str(tmp_path / "policy"), revision="main", data=tmp_path / "data",
               directory=directory.path, seed=0, settings=QWEN.grpo, training=QWEN.training, scale=SCALE)  # fmt: skip


@pytest.fixture
def made(job, monkeypatch):
    monkeypatch.setenv("KFP_POD_NAME", "grpo-pipeline-x-impl-1")
    monkeypatch.setenv("KFP_POD_UID", "0707125f")
    cluster = replace(QWEN.cluster, gpu_uuid="GPU-1", node_selector=("gpu=5090",), tolerations=("nvidia.com/gpu",))
    return trainjob.manifest(cluster, job)


def test_a_job_runs_the_same_worker_under_torchrun_on_all_gpus(made, job):
    trainer = made["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"], trainer["image"]) == (2, 4, images.trainer())
    assert (
        trainer["command"] == ["torchrun", "-m", "components.lib.training.worker"]
        and Job.read(trainer["args"][0]) == job
    )
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "4"
    requests, limits = trainer["resourcesPerNode"]["requests"], trainer["resourcesPerNode"]["limits"]
    assert requests == {"cpu": "8000m", "memory": "32768Mi", "nvidia.com/gpu": "4"} and limits["memory"] == "53248Mi"


def test_a_job_is_placed_as_a_training_step_is(made):
    (override,) = made["spec"]["podSpecOverrides"]
    assert override["nodeSelector"] == {"gpu": "5090"} and override["tolerations"][0]["key"] == "nvidia.com/gpu"
    mounted = {mount["mountPath"]: mount["name"] for mount in override["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in override["volumes"]}
    assert set(mounted) == {"/cache", "/checkpoints", "/dev/shm"} and set(mounted.values()) == set(volumes)
    assert volumes["checkpoints"]["persistentVolumeClaim"]["claimName"] == QWEN.cluster.checkpoints_claim
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"


def test_secrets_are_references_of_what_training_uses(made):
    env = {entry["name"]: entry for entry in made["spec"]["trainer"]["env"]}
    secret = {name for name, entry in env.items() if "valueFrom" in entry}
    assert secret == {"HF_TOKEN", "WANDB_API_KEY", "TRACKIO_SPACE_ID"}
    assert env["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": QWEN.cluster.secret, "key": "HF_TOKEN",
                                                            "optional": True}  # fmt: skip
    assert env["OMP_NUM_THREADS"]["value"] == "2"
    assert env["HF_HOME"]["value"] == "/cache/huggingface" and env["NVIDIA_VISIBLE_DEVICES"]["value"] == "GPU-1"


def test_the_name_is_short_and_new_each_time_and_the_job_goes_with_the_step(made, job):
    name = made["metadata"]["name"]
    assert name.startswith(f"{job.directory.name}-") and len(name) <= 48
    assert name != trainjob.manifest(QWEN.cluster, job)["metadata"]["name"]
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", "grpo-pipeline-x-impl-1", "0707125f")


def test_without_gpus_none_is_asked_for(job):
    resources = trainjob.manifest(replace(QWEN.cluster, gpus=0), job)["spec"]["trainer"]["resourcesPerNode"]
    assert "nvidia.com/gpu" not in resources["limits"] and "nvidia.com/gpu" not in resources["requests"]


def test_inputs_are_put_where_all_pods_see_them(job):
    moved = trainjob.with_inputs_on_the_volume(job)
    assert list(read_jsonl(moved.data / "rows.jsonl")) == [{"id": "a"}] and moved.data.is_relative_to(job.directory)
    assert list(read_jsonl(Path(moved.model) / "weights.jsonl")) == [{"w": 1}]
    assert trainjob.with_inputs_on_the_volume(job) == moved, "a second attempt finds them there"
    named = trainjob.with_inputs_on_the_volume(dataclasses.replace(job, model="Qwen/Qwen3.5-0.8B"))
    assert named.model == "Qwen/Qwen3.5-0.8B"


def test_a_job_that_runs_and_writes_nothing_is_left_for_a_new_one(job, monkeypatch):
    """Of the cluster only what is asked of it: a job without an end, whose Pod waits twice and then runs."""
    monkeypatch.setattr(trainjob, "POLL_S", 0.01)
    monkeypatch.setattr(pace, "QUIET_S", 0.05)
    jobs, begun = object.__new__(trainjob.TrainJobs), iter([False, False, True])
    monkeypatch.setattr(jobs, "_condition", lambda name: None, raising=False)
    monkeypatch.setattr(jobs, "_begun", lambda *_: next(begun), raising=False)
    told = jobs._ended("grpo-x", job, SimpleNamespace(look=lambda: None))
    assert told.startswith(f"its process hangs: it has written nothing to {job.directory}") and not list(begun)


def test_without_a_cluster_there_is_no_launcher():
    assert trainjob.launcher("") is None


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, {}, "Kubeflow Trainer is not installed; kubectl apply --server-side -k"),
        (403, {"message": "admission webhook denied: TrainingRuntime x not found"}, "has no TrainingRuntime 'mine'"),
        (403, {"message": 'trainjobs is forbidden: User "system:x" cannot create'}, "may not make TrainJobs (train"),
        (422, {"message": "spec.trainer.numNodes: must be positive"}, "refuses the TrainJob (422): spec.trainer"),
        (500, "no JSON", "refuses the TrainJob (500): no JSON"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_fix(status, body, said):
    error = SimpleNamespace(status=status, reason="no", body=body if isinstance(body, str) else json.dumps(body))
    assert said in trainjob.why_refused(error, "kubeflow", "mine")


class Log:
    """A Pod whose log breaks off after some lines, and is whole when it is asked for again."""

    def __init__(self, lines, breaks_after):
        self.lines, self.breaks_after = lines, breaks_after

    def read_namespaced_pod_log(self, pod, namespace, follow, _preload_content):
        import urllib3

        for number, line in enumerate(self.lines):
            if follow and number == self.breaks_after:
                raise urllib3.exceptions.ProtocolError("broken")
            yield f"{line}\n".encode()


def test_a_log_that_breaks_off_is_taken_up_where_it_ended(capsys):
    pod = SimpleNamespace(metadata=SimpleNamespace(name="p-0"), status=SimpleNamespace(phase="Running"))
    follower = Follower(Log(["one", "two", "three"], 2), "kubeflow", lambda: [pod])
    follower.look()
    follower.close()
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


class Kubernetes:
    """The answers of an API server to a launcher that follows a job; a list is used up, one answer a poll."""

    def __init__(self, conditions, pods):
        self.conditions, self.listed = list(conditions), pods

    def get_namespaced_custom_object(self, *_, **__):
        answer = self.conditions.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"status": {"conditions": [{"type": answer, "status": "True"}]} if answer else {}}

    def list_namespaced_event(self, _):
        return SimpleNamespace(items=[])

    def list_namespaced_pod(self, *_, **__):
        return SimpleNamespace(items=self.listed.pop(0) if len(self.listed) > 1 else self.listed[0])


def pod_of(rank, phase):
    labels = {"batch.kubernetes.io/job-completion-index": str(rank)}
    status = SimpleNamespace(phase=phase, container_statuses=[], init_container_statuses=[], conditions=[])
    return SimpleNamespace(metadata=SimpleNamespace(name=f"p-{rank}", labels=labels), status=status)


def follow(job, monkeypatch, conditions, pods):
    """How a job ends that is followed through these answers, two seconds apart."""
    clock = iter(range(0, 10_000, 2))
    api = Kubernetes(conditions, pods)
    client = SimpleNamespace(CoreV1Api=lambda: api, CustomObjectsApi=lambda: api)
    monkeypatch.setattr(trainjob, "kubernetes_client", lambda: client)
    monkeypatch.setattr(trainjob.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(trainjob.time, "sleep", lambda _: None)
    launcher = trainjob.TrainJobs(QWEN.cluster, "kubeflow")
    return launcher._ended("grpo-1", job, SimpleNamespace(look=lambda: None))


def test_a_pod_that_is_lost_long_after_the_start_is_no_late_start(job, monkeypatch):
    job = dataclasses.replace(job, scale=replace(SCALE, start_timeout_s=10))
    running, lost = [pod_of(0, "Running"), pod_of(1, "Running")], [pod_of(0, "Running")]
    ended = follow(job, monkeypatch, [None] * 20 + ["Failed"], [running, lost])
    assert ended == "Failed"
    with pytest.raises(ValueError, match="did not start within .* s .1 of 2 Pods are there"):
        follow(job, monkeypatch, [None] * 20 + ["Failed"], [lost])


def test_a_pod_that_fails_while_another_starts_is_no_failed_start(job, monkeypatch):
    """A node that is lost then is one, for which the job is made again."""
    evicted, waiting = pod_of(0, "Failed"), pod_of(1, "Pending")
    evicted.status.reason, evicted.status.message = "Evicted", "low on memory"
    assert follow(job, monkeypatch, [None] * 3 + ["Failed"], [[evicted, waiting]]) == "Failed"
    stuck = SimpleNamespace(reason="ErrImagePull", message="no such tag")
    state = SimpleNamespace(terminated=None, waiting=stuck)
    waiting.status.container_statuses = [SimpleNamespace(name="node", state=state)]
    with pytest.raises(ValueError, match="did not start within .* s .ErrImagePull: no such tag"):
        follow(job, monkeypatch, [None] * 3 + ["Failed"], [[evicted, waiting]])


def test_an_api_server_that_is_away_for_a_while_ends_nothing(job, monkeypatch, capsys):
    from kubernetes.client import ApiException

    running = [pod_of(0, "Running"), pod_of(1, "Running")]
    away = [ApiException(status=503, reason="Service Unavailable")] * 3
    assert follow(job, monkeypatch, [None, *away, "Complete"], [running]) == "Complete"
    assert capsys.readouterr().out.count("Kubernetes does not answer: Service Unavailable; asking again") == 3
    with pytest.raises(ApiException, match="Service Unavailable"):
        follow(job, monkeypatch, [None, *away * 200], [running])
    with pytest.raises(ApiException, match="Forbidden"):
        follow(job, monkeypatch, [ApiException(status=403, reason="Forbidden")], [running])
