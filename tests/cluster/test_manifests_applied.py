"""The manifests on a real API server: admitted under Pod Security, bound, run to their end."""

import os
import subprocess

import pytest
import yaml

from components import images
from tests.cluster.conftest import ROOT, kubectl, objects

pytestmark = pytest.mark.cluster
MANIFESTS = ROOT / "manifests"


@pytest.mark.parametrize("overlay", ["k3s", "kubeadm", "kubeflow"])
def test_an_overlay_is_taken_by_the_api_server(namespace, overlay):
    """A server-side dry run of the steps' objects, in a namespace of the test, and of what has no namespace."""
    items = list(yaml.safe_load_all(kubectl("kustomize", str(MANIFESTS / "overlays" / overlay))))
    for item in items:
        if item["metadata"].get("namespace") in ("kubeflow", "team"):
            item["metadata"]["namespace"] = namespace
    here = [item for item in items if item["metadata"].get("namespace", namespace) == namespace]
    assert {"PersistentVolumeClaim", "Job"} <= {item["kind"] for item in here}
    kubectl("apply", "--dry-run=server", "-f", "-", given=yaml.safe_dump_all(here))


def applied(directory, namespace, *components):
    """Apply base or a component in a namespace, with this build's data image; returns the objects."""
    lines = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": namespace}
    resources = [str(os.path.relpath(MANIFESTS / "base", directory))]
    parts = [str(os.path.relpath(MANIFESTS / "components" / name, directory)) for name in components]
    name, tag = images.DATA.rsplit(":", 1)
    chosen = [{"name": "grpo-pipeline/data", "newName": name, "newTag": tag}]
    text = yaml.safe_dump({**lines, "resources": resources, "components": parts, "images": chosen})
    (directory / "kustomization.yaml").write_text(text)
    items = kubectl("kustomize", "--load-restrictor", "LoadRestrictionsNone", str(directory))
    kubectl("apply", "-f", "-", given=items)


def test_minio_and_the_volumes_come_up_in_a_restricted_namespace(namespace, tmp_path):
    secret = ("create", "secret", "generic", "mlpipeline-minio-artifact")
    kubectl("-n", namespace, *secret, "--from-literal=accesskey=tester", "--from-literal=secretkey=tester-secret")
    applied(tmp_path, namespace, "minio", "network-policy")
    kubectl(
        "-n", namespace, "wait", "--for=condition=complete", "--timeout=300s", "job/grpo-prepare", "job/minio-bucket"
    )
    assert "/checkpoints: writable" in kubectl("-n", namespace, "logs", "job/grpo-prepare")
    log = kubectl("-n", namespace, "logs", "job/minio-bucket")
    assert "bucket mlpipeline: made" in log and "private-artifacts/ end after 30 days" in log
    claims = objects("persistentvolumeclaims", namespace)
    assert {claim["status"]["phase"] for claim in claims} == {"Bound"} and len(claims) == 3


def test_the_root_container_is_refused_where_the_namespace_is_restricted(namespace, tmp_path):
    component = MANIFESTS / "components" / "root-chown"
    lines = {"kind": "Kustomization", "namespace": namespace, "nameSuffix": "-root"}
    parts = {
        "resources": [os.path.relpath(MANIFESTS / "base", tmp_path)],
        "components": [os.path.relpath(component, tmp_path)],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({**lines, **parts}))
    items = kubectl("kustomize", "--load-restrictor", "LoadRestrictionsNone", str(tmp_path))
    job = next(item for item in yaml.safe_load_all(items) if item["kind"] == "Job")
    done = subprocess.run(
        ["kubectl", "apply", "--dry-run=server", "-f", "-"], input=yaml.safe_dump(job), capture_output=True, text=True
    )
    assert done.returncode == 0 and "would violate PodSecurity" in done.stderr
