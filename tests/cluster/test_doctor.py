"""Each check of `doctor`, broken once on purpose on a real cluster, and found."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from components.lib.cluster import doctor, images, pods
from components.lib.cluster.finding import Finding
from components.lib.recipe import recipes
from components.lib.recipe.settings import replace
from tests import ROOT
from tests.cluster.conftest import kubectl

pytestmark = pytest.mark.cluster

CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: NAME}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}CLASS}
"""
SETTINGS = replace(recipes.TINY.cluster, cache_claim="", checkpoints_claim="", secret="", s3_secret="", s3_endpoint="")


@pytest.fixture(scope="module")
def core(cluster):
    return pods.kubernetes_client().CoreV1Api()


@pytest.fixture(scope="module")
def storage(cluster):
    return pods.kubernetes_client().StorageV1Api()


def probe(core, namespace, settings, *, image="", heavy=False, registry=""):
    """The lines of one probe Pod."""
    asks = ("--registry", registry) if registry else ()
    return pods.run(core, namespace, pods.probe_pod(settings, image or images.data(), heavy, asks=asks))


def test_pipelines_do_not_answer():
    found = doctor.pipelines("http://127.0.0.1:9")
    assert not found.ok and "does not answer" in found.detail and "port-forward" in found.fix


def test_kubernetes_does_not_answer(cluster, tmp_path):
    config = tmp_path / "config"
    text = kubectl("config", "view", "--raw", "--minify").replace(":6443", ":9")
    config.write_text(text)
    done = subprocess.run(
        [sys.executable, "pipeline.py", "doctor", "--no-pods", "--endpoint", "http://127.0.0.1:9"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "KUBECONFIG": str(config)}, timeout=120,
    )  # fmt: skip
    assert (
        done.returncode == 1 and "WRONG  kubernetes: does not answer" in done.stdout and "Traceback" not in done.stderr
    )


def test_an_account_of_few_rights_is_told_what_it_lacks(namespace, tmp_path):
    """Which no traceback tells."""
    kubectl("-n", namespace, "create", "serviceaccount", "nobody")
    view = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    view["users"][0]["user"] = {"token": kubectl("-n", namespace, "create", "token", "nobody")}
    config = tmp_path / "config"
    config.write_text(json.dumps(view))
    done = subprocess.run(
        [sys.executable, "pipeline.py", "doctor", "--endpoint", "http://127.0.0.1:9", "--namespace", namespace,
         "--set", "trainer=trainjob"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "KUBECONFIG": str(config)}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    for what in ("gpu", "secret grpo-pipeline", "claim grpo-cache", "trainer", "rights", "runtime grpo-pipeline"):
        assert f"WRONG  {what}: cannot be asked: Forbidden\n       fix: ask for the right to" in done.stdout, what
    assert "WRONG  claim grpo-checkpoints for several Pods: cannot be asked" in done.stdout
    assert "fix: ask for the right to create Pods" in done.stdout


def test_a_probe_that_somebody_deletes_is_a_problem(core, namespace, pushed):
    manifest = pods.probe_pod(SETTINGS, images.data(), False)
    manifest["spec"]["containers"][0]["command"] = ["sleep", "600"]
    name = manifest["metadata"]["name"]
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(pods.run, core, namespace, manifest)
        while kubectl("-n", namespace, "delete", "pod", name, "--grace-period=0", "--force", check=False).returncode:
            assert not outcome.done(), outcome.result()
        assert outcome.result(60).problem == f"the Pod {name} is gone or cannot be read: Not Found"


def test_no_node_has_enough_gpus(core):
    assert doctor.gpus(core, 0).ok
    found = doctor.gpus(core, 99)
    assert not found.ok and "a step requests 99" in found.detail and "components/gpu" in found.fix


def test_a_secret_is_missing_or_lacks_a_key(core, namespace):
    keys = ("HF_TOKEN", "NOTIFY_WEBHOOK")
    assert doctor.secret(core, namespace, "nothing", keys, ()).ok
    found = doctor.secret(core, namespace, "nothing", keys, ("HF_TOKEN",))
    assert not found.ok and f"kubectl -n {namespace} create secret generic nothing --from-literal=HF_TOKEN" in found.fix
    kubectl(
        "-n",
        namespace,
        "create",
        "secret",
        "generic",
        "half",
        "--from-literal=HF_TOKEN=",
        "--from-literal=NOTIFY_WEBHOOK=x",
    )
    found = doctor.secret(core, namespace, "half", keys, ("HF_TOKEN",))
    assert not found.ok and found.detail == "has NOTIFY_WEBHOOK, misses HF_TOKEN"


def test_a_claim_is_missing_or_has_a_class_that_is_not_there(core, storage, namespace):
    found = doctor.volume(core, storage, namespace, "nothing")
    assert not found.ok and found.detail == "there is none" and f"#{images.data()}#" in found.fix
    claim = CLAIM.replace("NAME", "lost").replace("CLASS", ", storageClassName: nowhere")
    kubectl("-n", namespace, "apply", "-f", "-", given=claim)
    found = doctor.volume(core, storage, namespace, "lost")
    assert not found.ok and found.detail.startswith("pending, class nowhere; the cluster has ")
    assert f"-n {namespace} delete job/grpo-prepare pvc/lost" in found.fix


def test_a_namespace_that_is_not_there_is_said_first_and_alone(core):
    recipe = replace(recipes.TINY, registry="s3://b/p")
    found = list(doctor.findings(recipe, "http://127.0.0.1:9", "nowhere-at-all", "grpo-pipeline", False))
    assert not found[-1].ok and str(found[-1]).startswith("WRONG  namespace nowhere-at-all: there is none")
    assert [one.what for one in found] == ["pipelines", "kubernetes", "namespace nowhere-at-all"]


def test_a_claim_that_waits_for_its_first_consumer_is_fine(core, storage, namespace):
    waiting = f"{namespace}-waits"
    kubectl(
        "apply",
        "-f",
        "-",
        given=f"""
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: {waiting}}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
""",
    )
    try:
        claim = CLAIM.replace("NAME", "patient").replace("CLASS", f", storageClassName: {waiting}")
        kubectl("-n", namespace, "apply", "-f", "-", given=claim)
        found = doctor.volume(core, storage, namespace, "patient")
        assert found.ok and "waits for its first consumer" in found.detail
    finally:
        kubectl("delete", "storageclass", waiting)


def test_an_image_cannot_be_pulled(core, namespace):
    image = "grpo-pipeline/data:there-is-no-such-tag"
    outcome = probe(core, namespace, SETTINGS, image=image)
    assert "ErrImagePull" in outcome.problem or "ImagePullBackOff" in outcome.problem
    assert f"push {image}" in doctor._fix(outcome.problem, image, namespace)


def test_a_pod_finds_no_place(core, namespace):
    outcome = probe(core, namespace, replace(SETTINGS, node_selector=("no=such",)), heavy=True)
    assert outcome.problem.startswith("no place:") and "cluster_" in doctor._fix(outcome.problem, "", namespace)


def test_a_node_lacks_the_memory_that_training_requests(core, namespace):
    outcome = probe(core, namespace, replace(SETTINGS, train_memory_gib=100_000.0), heavy=True)
    assert "Insufficient memory" in outcome.problem and "cluster_" in doctor._fix(outcome.problem, "", namespace)


def test_a_volume_is_not_writable_by_the_images_user(pushed, core, namespace):
    claim = CLAIM.replace("NAME", "locked").replace("CLASS", "")
    kubectl("-n", namespace, "apply", "-f", "-", given=claim)
    settings = replace(SETTINGS, cache_claim="locked")
    assert '"ok": true' in probe(core, namespace, settings).log.splitlines()[1]
    locking = pods.probe_pod(settings, images.data(), False)
    container = locking["spec"]["containers"][0]
    container["command"] = ["python3", "-c", "import os; os.chown('/cache', 0, 0); os.chmod('/cache', 0o755)"]
    container["securityContext"] = {"runAsUser": 0}
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=baseline", "--overwrite")
    assert pods.run(core, namespace, locking).problem == ""
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    outcome = probe(core, namespace, settings)
    found = doctor._from_pod(Finding(**json.loads(outcome.log.splitlines()[1])), "data", settings, namespace)
    assert not found.ok and "user 10001 cannot write there" in found.detail and "root-chown" in found.fix


def test_the_bucket_is_not_there_and_the_key_is_wrong(pushed, core, namespace):
    if "S3_ENDPOINT_IN_CLUSTER" not in os.environ:
        pytest.skip("needs S3_ENDPOINT_IN_CLUSTER, MinIO as Pods see it: no bucket is asked for")
    access, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    for name, key in (("right", secret), ("wrong", "not-the-key")):
        kubectl(
            "-n",
            namespace,
            "create",
            "secret",
            "generic",
            name,
            f"--from-literal=accesskey={access}",
            f"--from-literal=secretkey={key}",
        )
    for name, registry, said in (
        ("right", "s3://there-is-no-such-bucket/x", "there-is-no-such-bucket"),
        ("wrong", "s3://mlpipeline/x", "mlpipeline"),
    ):
        settings = replace(SETTINGS, s3_secret=name, s3_endpoint=os.environ["S3_ENDPOINT_IN_CLUSTER"])
        found = _finding_of("registry", probe(core, namespace, settings, registry=registry), settings, namespace)
        assert not found.ok and said in found.detail and name in found.fix
    settings = replace(SETTINGS, s3_secret="right", s3_endpoint=os.environ["S3_ENDPOINT_IN_CLUSTER"])
    assert _finding_of(
        "registry", probe(core, namespace, settings, registry="s3://mlpipeline/x"), settings, namespace
    ).ok


def test_a_hub_that_does_not_answer_is_no_bad_token(pushed, core, namespace):
    kubectl("-n", namespace, "create", "secret", "generic", "token", "--from-literal=HF_TOKEN=hf_wrong")
    settings = replace(SETTINGS, secret="token")
    manifest = pods.probe_pod(settings, images.data(), False, asks=["--hub"])
    manifest["spec"]["containers"][0]["env"].append({"name": "HF_ENDPOINT", "value": "http://127.0.0.1:9"})
    found = _finding_of("hub", pods.run(core, namespace, manifest), settings, namespace)
    assert not found.ok and "does not answer" in found.detail and "the way from Pods to the Hub" in found.fix


def test_no_gpu_is_seen_inside_the_pod(pushed, core, namespace):
    settings = replace(SETTINGS, gpus=1)
    outcome = probe(core, namespace, settings, image=images.trainer(), heavy=True)
    if outcome.problem.startswith("no place"):
        pytest.skip("no node counts a GPU: no Pod asks for one")
    found = _finding_of("gpu", outcome, settings, namespace)
    assert "torch 2.13.0" in found.detail and (found.ok or "default runtime" in found.fix)


def _finding_of(check, outcome, settings, namespace):
    assert not outcome.problem, outcome.problem
    found = [Finding(**json.loads(text)) for text in outcome.log.splitlines() if text.startswith("{")]
    (finding,) = [finding for finding in found if finding.what.startswith(check)]
    return doctor._from_pod(finding, "data", settings, namespace)
