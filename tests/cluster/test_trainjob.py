"""trainer=trainjob on a cluster with Kubeflow Trainer: the whole tiny recipe, and jobs that never start."""

import json
import re
import secrets
import time

import pytest

from components.lib.cluster import doctor_trainer, images, pods
from components.lib.cluster.api import connect
from components.lib.cluster.trainjob import GROUP, TrainJobs
from components.lib.cluster.verbs import ACCOUNT
from components.lib.recipe.recipes import TINY
from components.lib.recipe.settings import replace
from components.lib.registry.outcome import artifact_root
from components.lib.registry.record import read_records
from components.lib.registry.store import open_store
from components.lib.training import supervise
from components.lib.training.checkpoints import TrainingDir
from components.lib.training.job import Job, Status
from tests import ROOT
from tests.cluster.conftest import kubectl, objects
from tests.cluster.runs import NAMESPACE, delete, log_of, number_after, steps, submitted

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3000)]
COMPONENT = str(ROOT / "manifests" / "components" / "trainer")
SCALE = {
    "trainer": "trainjob", "scale_nodes": "2", "cluster_gpus": "0", "training_save_minutes": "0.01",
    "grpo_sample_steps": str(secrets.randbelow(10**6) + 1000),  # so that no earlier training is found on the claim
}  # fmt: skip
BARE = replace(TINY.cluster, cache_claim="", checkpoints_claim="", secret="", s3_secret="", s3_endpoint="", gpus=0)


@pytest.fixture(scope="module")
def trainer(cluster):
    """Kubeflow Trainer is installed."""
    if kubectl("get", "crd", f"trainjobs.{GROUP}", check=False).returncode:
        pytest.skip("needs Kubeflow Trainer: no TrainJob is made")


@pytest.fixture(scope="module")
def registry(endpoint):
    """A prefix of its own in KFP's bucket."""
    return f"s3://mlpipeline/test-trainjob-{time.strftime('%H%M%S')}"


@pytest.fixture(scope="module")
def run(trainer, registry):
    """The tiny recipe on two Pods, one of which is deleted in the middle of GRPO."""
    kubectl("-n", NAMESPACE, "apply", "-k", COMPONENT)
    with submitted({**SCALE, "registry": registry}) as run:
        first, second = job_pods(run, "grpo", says="saved step")
        run.saved = number_after("saved step", log_in(first))
        delete(second)
        run.status = run.end()
    print(run.printed)
    return run


def job_pods(run, stage, says):
    """The two Pods of a stage's TrainJob once the log of the first holds `says`."""
    deadline = time.monotonic() + 1500
    while time.monotonic() < deadline and run.process.poll() is None:
        found = objects("pods", NAMESPACE, "-l", "jobset.sigs.k8s.io/jobset-name")
        found = [pod for pod in found if pod["metadata"]["name"].startswith(f"{stage}-")]
        found.sort(key=lambda pod: int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]))
        if len(found) == 2 and says in log_in(found[0]):
            return found
        time.sleep(1)
    raise AssertionError(f"{stage} never said {says!r}: {run.process.stdout.read()}")


def log_in(pod):
    return kubectl("-n", NAMESPACE, "logs", pod["metadata"]["name"], check=False).stdout


def test_the_run_ends_well_and_has_learned_although_a_pod_was_deleted(run, registry):
    assert run.status == 0, run.printed
    outcome = open_store(registry).read_json(f"runs/{run.id}/outcome.json")
    assert outcome["ending"] == "promoted" and "force" not in outcome["sentence"]
    accuracy = {row["checkpoint"]: row["accuracy"] for row in outcome["results"] if row["protocol"] == "zero-shot"}
    assert accuracy["grpo"] > accuracy["sft"] + 0.2 > accuracy["base"] + 0.4, accuracy


def test_the_launching_step_followed_its_job_and_went_on_from_the_checkpoint(run):
    log = log_of(steps(run.id)["grpo"][-1])
    assert len(re.findall(r"grpo: TrainJob grpo-\S+, 2 process\(es\) on 2 node\(s\)", log)) == 2
    assert "restart 1 of 3" in log and "reward" in log
    assert 0 < run.saved <= number_after("going on from step", log) < TINY.grpo.max_steps


def test_the_record_says_on_what_it_trained(run, registry):
    records = {record["step"]: record for record in read_records(open_store(registry), run.id)}
    for step in ("sft", "grpo"):
        machine = records[step]["machine"]
        assert machine["packages"]["torch"] and "trainer" in machine["image"], machine


def test_the_launching_steps_take_no_gpu_and_leave_no_job(run):
    for step in ("sft", "grpo"):
        main = next(c for c in steps(run.id)[step][-1]["spec"]["containers"] if c["name"] == "main")
        assert main["image"] == images.data() and "nvidia.com/gpu" not in main["resources"].get("limits", {})
    assert objects(f"trainjobs.{GROUP}", NAMESPACE) == []


def test_sft_on_two_pods_equals_one_process_within_rounding(run, registry, tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch: no weights are compared")
    from safetensors.torch import load_file

    records = {record["step"]: record for record in read_records(open_store(registry), run.id)}
    root = artifact_root(records["sft"]["artifact"], run.id).replace("minio://", "s3://")
    store = open_store(root)
    for step, name in (("standardize", "data"), ("sft", "sft_model")):
        prefix = next(k.split(f"/{name}/")[0] for k in store.keys(step) if f"/{name}/" in k)
        store_tree(store, f"{prefix}/{name}", tmp_path / name)
    supervise.train(
        stage="sft", model="tiny", revision="main", data=tmp_path / "data", model_out=tmp_path / "alone",
        curves_out=tmp_path / "curves", checkpoints=None, seed=TINY.seed, settings=TINY.sft, training=TINY.training,
        scale=TINY.scale,
    )  # fmt: skip
    mine, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "sft_model"))
    apart = max((mine[name] - theirs[name]).abs().max().item() for name in mine)
    print(f"largest difference of a weight: {apart:.1e}")
    assert mine.keys() == theirs.keys() and apart < 2e-5
    assert torch.isfinite(torch.tensor(apart))


def store_tree(store, prefix, directory):
    """Every object below a prefix as files."""
    for key in store.keys(prefix):
        path = directory / key.removeprefix(f"{prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(key))


def test_a_run_that_is_terminated_takes_its_job_with_it(run, endpoint, registry):
    with submitted({**SCALE, "registry": registry, "seed": "1"}) as another:
        job_pods(another, "sft", says="step")
        connect(endpoint, NAMESPACE).terminate_run(another.id)
        assert another.end() == 1
        deadline = time.monotonic() + 60
        while left := objects(f"trainjobs.{GROUP}", NAMESPACE):
            assert time.monotonic() < deadline, left
            time.sleep(1)


@pytest.fixture
def make(trainer, namespace, tmp_path):
    """Runs one TrainJob in the test's namespace, from here; returns the status, or raises its reason."""
    kubectl("-n", namespace, "apply", "-k", COMPONENT)
    place = TrainingDir.of(tmp_path, "sft", {"seed": 0})
    (tmp_path / "data").mkdir()
    with place.locked():
        pass

    def run(cluster=BARE, **scale):
        settings = replace(TINY.scale, start_timeout_s=30, **scale)
        job = Job(stage="sft", model="tiny", revision="main", data=tmp_path / "data", directory=place.path, seed=0,
                  settings=TINY.sft, training=TINY.training, scale=settings)  # fmt: skip
        started = time.monotonic()
        try:
            return TrainJobs(cluster, namespace).run(job)
        finally:
            assert time.monotonic() - started < 90
            assert objects(f"trainjobs.{GROUP}", namespace) == []

    return run


def test_an_image_that_is_not_there_is_named(make, monkeypatch):
    monkeypatch.setattr(images, "trainer", lambda: "grpo-pipeline/trainer:there-is-no-such-tag")
    with pytest.raises(ValueError, match="did not start .*(ErrImagePull|ImagePullBackOff).*there-is-no-such-tag"):
        make()


def test_a_claim_that_is_not_there_is_named(make):
    with pytest.raises(ValueError, match='did not start .*persistentvolumeclaim "nowhere" not found'):
        make(replace(BARE, checkpoints_claim="nowhere"))


def test_a_node_that_is_not_there_is_said(make):
    with pytest.raises(ValueError, match="did not start within .*no place: .*raise scale_start_timeout_s"):
        make(replace(BARE, node_selector=("no=such",)), nodes=2)


POD_SPEC = "/spec/template/spec/replicatedJobs/0/template/spec/template/spec"
NEEDS_SECRET = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "nothing", "key": "x"}}}]


@pytest.mark.parametrize(
    ("operation", "path", "value", "said"),
    [
        ("add", "serviceAccountName", "nobody", 'serviceaccount "nobody" not found'),
        ("add", "containers/0/env", NEEDS_SECRET, 'CreateContainerConfigError: secret "nothing" not found'),
        ("replace", "containers/0/name", "other", 'container "node" must set securityContext'),
    ],
)  # fmt: skip
def test_what_a_runtime_gets_wrong_is_named(make, namespace, operation, path, value, said):
    patch = [{"op": operation, "path": f"{POD_SPEC}/{path}", "value": value}]
    kubectl("-n", namespace, "patch", "trainingruntime", "grpo-pipeline", "--type=json", "-p", json.dumps(patch))
    try:
        with pytest.raises(ValueError, match=f"did not start .*{said}"):
            make()
    finally:
        kubectl("-n", namespace, "delete", "trainingruntime", "grpo-pipeline")


def test_a_runtime_that_is_not_there_is_named(make):
    with pytest.raises(ValueError, match="has no TrainingRuntime 'nothing'; kubectl -n .* apply -k"):
        make(runtime="nothing")


def test_a_container_that_ends_at_once_is_a_failure_with_its_reason(make, pushed, monkeypatch):
    monkeypatch.setattr(images, "trainer", images.data)  # it has no torchrun
    result = make()
    assert (result.status is Status.FAILED and "torchrun" in result.message) or "StartError" in result.message


def test_doctor_finds_each_thing_that_is_missing(trainer, namespace):
    client = pods.kubernetes_client()
    custom = client.CustomObjectsApi()
    assert doctor_trainer.trainer(custom, namespace).ok
    kubectl("-n", namespace, "delete", "-k", COMPONENT, "--ignore-not-found")
    found = doctor_trainer.runtime(custom, namespace, "grpo-pipeline", "")
    assert not found.ok and found.detail == "there is none" and "apply -k manifests/components/trainer" in found.fix
    found = doctor_trainer.rights(client.AuthorizationV1Api(), namespace, ACCOUNT)
    assert not found.ok and "may not create trainjobs" in found.detail and "get pods/log" in found.detail
    kubectl("-n", namespace, "apply", "-k", COMPONENT)
    assert doctor_trainer.rights(client.AuthorizationV1Api(), namespace, ACCOUNT).ok
    assert doctor_trainer.controller(custom, namespace, "grpo-pipeline").ok
    assert doctor_trainer.runtime(custom, namespace, "grpo-pipeline", "").ok
    found = doctor_trainer.runtime(custom, namespace, "grpo-pipeline", "mine")
    assert not found.ok and "does not pull images with mine" in found.detail
    found = doctor_trainer.shared(client.CoreV1Api(), namespace, "nothing")
    assert not found.ok and found.detail == "there is none" and f"#{images.data()}#" in found.fix
