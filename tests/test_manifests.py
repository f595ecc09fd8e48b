"""The manifests render, and every object is valid for the Kubernetes that the project is for."""

import os
import shutil
import subprocess

import pytest
import yaml

from components.lib.cluster import bucket
from components.lib.cluster.step_pod import CACHE, CHECKPOINTS, USER
from components.lib.cluster.verbs import ACCOUNT
from components.lib.recipe.recipes import QWEN
from tests import ROOT
from tests.fixtures import kfp_manifests

MANIFESTS = ROOT / "manifests"
OVERLAYS = ("standalone", "kubeflow")
KUBERNETES = "1.34"
OURS = "grpo-pipeline/data:dev"  # what docs/cluster.md replaces

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl: no manifest is rendered")


def rendered(directory, *options):
    done = subprocess.run(["kubectl", "kustomize", *options, str(directory)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def with_component(tmp_path, resources, components):
    """A kustomization of our own over paths; kustomize wants them relative."""
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "namespace: kubeflow", "resources:"]
    lines += [f"  - {os.path.relpath(path, tmp_path)}" for path in resources]
    lines += ["components:"] + [f"  - {os.path.relpath(path, tmp_path)}" for path in components]
    (tmp_path / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    return rendered(tmp_path, "--load-restrictor", "LoadRestrictionsNone")


def every(tmp_path):
    """All objects of all overlays and of the components that no overlay has."""
    found = [item for overlay in OVERLAYS for item in rendered(MANIFESTS / "overlays" / overlay)]
    more = ("minio", "network-policy", "root-chown", "trainer")
    return found + with_component(tmp_path, [MANIFESTS / "base"], [MANIFESTS / "components" / name for name in more])


def pod_specs(items):
    """(name, Pod spec) of everything that makes Pods; our TrainingRuntime leaves image and requests to the TrainJob."""
    makers = [i for i in items if "template" in i.get("spec", {}) and i["kind"] != "TrainingRuntime"]
    return [(i["metadata"]["name"], i["spec"]["template"]["spec"]) for i in makers]


def test_every_object_is_valid(tmp_path):
    validate = pytest.importorskip(
        "kubernetes_validate", reason="needs kubernetes-validate: no schema is checked"
    ).validate
    for item in [*every(tmp_path), *yaml.safe_load_all((MANIFESTS / "secret.template.yaml").read_text())]:
        if item["kind"] == "TrainingRuntime":  # no schema of Kubernetes'; the cluster tests have its CRD
            continue
        validate(item, KUBERNETES, strict=True)


def test_every_pod_but_the_exceptions_is_restricted(tmp_path):
    for name, spec in pod_specs(every(tmp_path)):
        if name == "nvidia-device-plugin":
            continue
        assert spec["securityContext"]["runAsNonRoot"] and not spec.get("hostNetwork"), name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, name
            assert container["resources"]["requests"], name


def test_the_pods_of_a_training_runtime_are_restricted_and_never_try_again(tmp_path):
    runtime = next(item for item in every(tmp_path) if item["kind"] == "TrainingRuntime")
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert job["template"]["spec"]["backoffLimit"] == 0
    spec = job["template"]["spec"]["template"]["spec"]
    assert spec["restartPolicy"] == "Never" and spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsUser"] == USER and spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    context = spec["containers"][0]["securityContext"]
    assert context == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_the_pods_of_a_trainjob_may_meet_and_nobody_else_comes_in(tmp_path):
    items = every(tmp_path)
    spec = next(item["spec"] for item in items if item["kind"] == "NetworkPolicy")
    assert spec["ingress"] == [{"from": [{"podSelector": spec["podSelector"]}]}]
    runtime = next(item for item in items if item["kind"] == "TrainingRuntime")
    pod = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_images_are_pinned(tmp_path):
    for name, spec in pod_specs(every(tmp_path)):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            image = container["image"]
            assert image == OURS if "grpo-pipeline" in image else ":" in image and ":latest" not in image, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_claims_are_those_that_the_steps_mount(overlay):
    items = rendered(MANIFESTS / "overlays" / overlay)
    found = [item for item in items if item["kind"] == "PersistentVolumeClaim"]
    claims = {item["metadata"]["name"]: item["spec"]["resources"]["requests"]["storage"] for item in found}
    assert claims[QWEN.cluster.checkpoints_claim] == "100Gi"  # what the recipe keeps there, see claims.yaml
    assert set(claims) == {QWEN.cluster.cache_claim, QWEN.cluster.checkpoints_claim}
    job = next(spec for name, spec in pod_specs(items) if name == "grpo-prepare")
    assert job["securityContext"]["fsGroup"] == job["securityContext"]["runAsUser"] == USER
    assert [mount["mountPath"] for mount in job["containers"][0]["volumeMounts"]] == [CACHE, CHECKPOINTS]


def rights_of(items, name):
    """Resource -> verbs of a Role."""
    role = next(item for item in items if (item["kind"], item["metadata"]["name"]) == ("Role", name))
    assert not any("*" in rule["verbs"] + rule["resources"] for rule in role["rules"])
    return {resource: set(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_steps_have_an_account_of_few_rights(overlay):
    items = rendered(MANIFESTS / "overlays" / overlay)
    rights = rights_of(items, ACCOUNT)
    # What lib/inside.py asks.
    assert rights["pods"] == {"get", "list"} and rights["pods/log"] == {"get"}
    assert rights["workflows"] == {"get", "list"} and rights["secrets"] == {"get"}
    rights = rights_of(items, "grpo-start-timeout")
    assert rights == {"pods": {"list"}, "events": {"list"}, "workflows": {"list", "patch"}}


def test_the_objects_of_a_profile_are_in_its_namespace():
    items = rendered(MANIFESTS / "overlays" / "kubeflow")
    assert {item["metadata"].get("namespace") for item in items if item["kind"] != "Namespace"} == {"team"}


def test_the_root_of_minio_is_known_to_minio_and_the_job_of_the_bucket_alone(tmp_path):
    known = {name for name, spec in pod_specs(every(tmp_path)) if "minio-root" in str(spec)}
    assert known == {"minio", "minio-bucket"}
    assert QWEN.cluster.s3_secret == "mlpipeline-minio-artifact"


def test_nothing_that_the_cache_or_the_registry_needs_expires():
    job = yaml.safe_load((MANIFESTS / "components" / "minio" / "bucket.yaml").read_text())
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[2:] == ["components.lib.cluster.bucket", "mlpipeline", "--expire-logs", "30", "--user"]
    assert bucket.LOGS == "private-artifacts/"


@pytest.fixture(scope="module")
def kfp(tmp_path_factory):
    """Every object of manifests/kfp."""
    if not kfp_manifests.available():
        pytest.skip(f"{kfp_manifests.MISSING} is not rendered")
    return kfp_manifests.render(tmp_path_factory.mktemp("kfp"))


def named(items, kind, name):
    return next(item for item in items if (item["kind"], item["metadata"]["name"]) == (kind, name))


def test_kfp_learns_of_minio_everywhere(kfp):
    assert "seaweedfs" not in yaml.safe_dump_all(kfp)
    launcher = yaml.safe_load(named(kfp, "ConfigMap", "kfp-launcher")["data"]["providers"])
    assert launcher["minio"]["default"]["endpoint"] == "minio-service.kubeflow:9000"
    argo = named(kfp, "ConfigMap", "workflow-controller-configmap")["data"]
    repository = yaml.safe_load(argo["artifactRepository"])["s3"]
    assert repository["endpoint"] == "minio-service.kubeflow.svc:9000" and repository["bucket"] == "mlpipeline"
    assert "retryPolicy: OnError" in argo["workflowDefaults"], "KFP's own settings of Argo stay"
    for name, host in (("ml-pipeline", "OBJECTSTORECONFIG_HOST"), ("ml-pipeline-ui", "MINIO_HOST")):
        container = named(kfp, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        environment = {e["name"]: e.get("value") for e in container["env"]}
        assert environment[host].startswith("minio-service"), name
        assert environment[host.replace("HOST", "PORT")] == "9000", name
    service = named(kfp, "Service", "minio-service")
    assert service["spec"]["ports"][0]["port"] == 9000 and service["metadata"]["namespace"] == "kubeflow"


def test_kfp_has_minio_and_no_well_known_credentials(kfp):
    """The Secret is made by hand; everything that needs it takes it from there."""
    assert [item["metadata"]["name"] for item in kfp if item["kind"] == "Secret"] == ["mysql-secret"]
    job = named(kfp, "Job", "minio-bucket")["spec"]["template"]["spec"]["containers"][0]
    assert job["image"] == OURS
    for name, spec in pod_specs(kfp):
        for container in spec["containers"]:
            assert ":" in container["image"] and not container["image"].endswith(":latest"), name


def test_kfp_is_valid(kfp):
    validate = pytest.importorskip(
        "kubernetes_validate", reason="needs kubernetes-validate: no schema is checked"
    ).validate
    for item in kfp:
        validate(item, KUBERNETES, strict=True)
