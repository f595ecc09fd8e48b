"""The manifests on a real API server: admitted under Pod Security, bound, run to their end."""

import contextlib
import os

import pytest
import yaml

from components.lib.cluster import images, pods
from components.lib.recipe import recipes
from tests import ROOT
from tests.cluster.conftest import kubectl, objects
from tests.fixtures import kfp_manifests

pytestmark = pytest.mark.cluster
MANIFESTS = ROOT / "manifests"


@pytest.mark.parametrize("overlay", ["standalone", "kubeflow"])
def test_an_overlay_is_taken_by_the_api_server(namespace, overlay):
    """A server-side dry run of the steps' objects, in a namespace of the test, and of what has no namespace."""
    items = list(yaml.safe_load_all(kubectl("kustomize", str(MANIFESTS / "overlays" / overlay))))
    for item in items:
        if item["metadata"].get("namespace") in ("kubeflow", "team"):
            item["metadata"]["namespace"] = namespace
    here = [item for item in items if item["metadata"].get("namespace", namespace) == namespace]
    assert {"PersistentVolumeClaim", "Job", "CronJob", "ServiceAccount"} <= {item["kind"] for item in here}
    kubectl("apply", "--dry-run=server", "-f", "-", given=yaml.safe_dump_all(here))


def test_kfp_on_minio_is_taken_by_the_api_server(namespace, tmp_path):
    """A server-side dry run of manifests/kfp, in a namespace under the Pod Security that KFP's own has."""
    if not kfp_manifests.available():
        pytest.skip(f"{kfp_manifests.MISSING} is not tried")
    items = kfp_manifests.render(tmp_path)
    for item in items:
        if item["metadata"].get("namespace") == "kubeflow":
            item["metadata"]["namespace"] = namespace
    with pod_security(namespace, "baseline"):
        done = kubectl("apply", "--dry-run=server", "-f", "-", given=yaml.safe_dump_all(items), check=False)
    assert done.returncode == 0 and done.stdout.count("(server dry run)") == len(items), done.stderr
    assert "would violate PodSecurity" not in done.stderr


def rendered(directory, namespace, *components):
    """The base and some components as YAML for a namespace, with this build's data image."""
    lines = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": namespace}
    resources = [str(os.path.relpath(MANIFESTS / "base", directory))]
    parts = [str(os.path.relpath(MANIFESTS / "components" / name, directory)) for name in components]
    (directory / "kustomization.yaml").write_text(
        yaml.safe_dump({**lines, "resources": resources, "components": parts})
    )
    text = kubectl("kustomize", "--load-restrictor", "LoadRestrictionsNone", str(directory))
    return text.replace("grpo-pipeline/data:dev", images.data())


def test_minio_and_the_volumes_come_up_in_a_restricted_namespace(pushed, namespace, tmp_path):
    for secret, user in (("minio-root", "root"), ("mlpipeline-minio-artifact", "tester")):
        keys = (f"--from-literal=accesskey={user}", f"--from-literal=secretkey={user}-secret")
        kubectl("-n", namespace, "create", "secret", "generic", secret, *keys)
    kubectl("apply", "-f", "-", given=rendered(tmp_path, namespace, "minio", "network-policy"))
    kubectl(
        "-n", namespace, "wait", "--for=condition=complete", "--timeout=300s", "job/grpo-prepare", "job/minio-bucket"
    )
    assert "/checkpoints: writable" in kubectl("-n", namespace, "logs", "job/grpo-prepare")
    log = kubectl("-n", namespace, "logs", "job/minio-bucket")
    assert "bucket mlpipeline: made" in log and "private-artifacts/ end after 30 days" in log
    assert "user tester may use bucket mlpipeline alone" in log
    claims = objects("persistentvolumeclaims", namespace)
    assert {claim["status"]["phase"] for claim in claims} == {"Bound"} and len(claims) == 3


def test_the_root_container_is_refused_where_the_namespace_is_restricted(namespace, tmp_path):
    items = rendered(tmp_path, namespace, "root-chown")
    job = next(item for item in yaml.safe_load_all(items) if item["kind"] == "Job")
    job["metadata"]["name"] = "refused"
    done = kubectl("apply", "--dry-run=server", "-f", "-", given=yaml.safe_dump(job), check=False)
    assert done.returncode == 0 and "would violate PodSecurity" in done.stderr


def test_volumes_that_are_roots_are_given_to_the_images_user(pushed, namespace, tmp_path):
    """By the kubelet, or where storage ignores fsGroup by root-chown, under the Pod Security of KFP's namespace."""
    kubectl("apply", "-f", "-", given=rendered(tmp_path, namespace))
    with pod_security(namespace, "baseline"):
        take_away(namespace)
        again(rendered(tmp_path, namespace), namespace, "complete")
        take_away(namespace)
        again(ignored(rendered(tmp_path, namespace)), namespace, "failed")
        assert "user 10001 cannot write there" in kubectl("-n", namespace, "logs", "job/grpo-prepare")
        again(ignored(rendered(tmp_path, namespace, "root-chown")), namespace, "complete")
        assert "/checkpoints: writable" in kubectl("-n", namespace, "logs", "job/grpo-prepare", "-c", "prepare")


def ignored(manifests):
    """The Job without fsGroup, which is what storage makes of it that ignores it; it gives up at once."""
    assert "fsGroup: 10001" in manifests and "backoffLimit: 2" in manifests
    return manifests.replace("fsGroup: 10001", "fsGroup: null").replace("backoffLimit: 2", "backoffLimit: 0")


def again(manifests, namespace, ending):
    """Delete the Job, apply the manifests and wait until it has ended so."""
    kubectl("-n", namespace, "delete", "job", "grpo-prepare")
    kubectl("apply", "-f", "-", given=manifests)
    kubectl("-n", namespace, "wait", f"--for=condition={ending}", "--timeout=120s", "job/grpo-prepare")


def take_away(namespace):
    """Make both volumes root's, as storage does that ignores fsGroup."""
    command = ["python3", "-c", "import os\nfor p in '/cache', '/checkpoints': os.chown(p, 0, 0); os.chmod(p, 0o755)"]
    settings = recipes.TINY.cluster
    pod = pods.probe_pod(settings, images.data(), True)
    pod["spec"]["containers"][0] |= {"command": command, "securityContext": {"runAsUser": 0}}
    assert pods.run(pods.kubernetes_client().CoreV1Api(), namespace, pod).problem == ""


@contextlib.contextmanager
def pod_security(namespace, level):
    """The namespace under another level of Pod Security than `restricted`."""
    label = "pod-security.kubernetes.io/enforce"
    kubectl("label", "namespace", namespace, f"{label}={level}", "--overwrite")
    try:
        yield
    finally:
        kubectl("label", "namespace", namespace, f"{label}=restricted", "--overwrite")
