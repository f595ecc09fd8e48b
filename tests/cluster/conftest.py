"""A namespace of its own for each test module, on the cluster of KUBECONFIG; skipped, with the reason, without one."""

import json
import os
import secrets
import subprocess

import pytest

from components.lib.cluster import images, pods
from components.lib.recipe import recipes
from components.lib.recipe.settings import replace
from tests import ROOT


def kubectl(*arguments, given=None, check=True):
    done = subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if check else done


@pytest.fixture(scope="session")
def cluster():
    """The API server answers."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("needs KUBECONFIG: nothing is tried on a cluster")
    done = subprocess.run(["kubectl", "--request-timeout=5s", "get", "nodes"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the cluster of KUBECONFIG does not answer ({done.stderr.strip()}): nothing is tried on it")


@pytest.fixture(scope="module")
def namespace(cluster):
    """A new namespace under Pod Security `restricted`, gone afterwards."""
    name = f"grpo-test-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def pushed(cluster):
    """The node can pull the data image of this build."""
    settings = replace(recipes.TINY.cluster, cache_claim="")
    pod = pods.probe_pod(settings, images.data(), False)
    problem = pods.run(pods.kubernetes_client().CoreV1Api(), "default", pod).problem
    if "image" in problem.lower():
        pytest.skip(
            f"needs the image {images.data()} (GRPO_IMAGE_PREFIX, GRPO_IMAGE_TAG) on the cluster: no Pod of ours runs"
        )


@pytest.fixture(scope="session")
def endpoint(cluster, pushed):
    """The address of Kubeflow Pipelines, in whose namespace the account of the steps is."""
    if "KF_PIPELINES_ENDPOINT" not in os.environ:
        pytest.skip("needs KF_PIPELINES_ENDPOINT: no run is started on a cluster")
    kubectl("-n", "kubeflow", "apply", "-f", str(ROOT / "manifests" / "components" / "account" / "account.yaml"))
    return os.environ["KF_PIPELINES_ENDPOINT"]


def objects(kind, namespace, *options):
    """All objects of a kind in a namespace."""
    return json.loads(kubectl("-n", namespace, "get", kind, "-o", "json", *options))["items"]
