"""The verb `doctor`: is a cluster ready for a recipe? One line per check: ok, or what is wrong and its fix."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from components.lib.cluster import doctor_trainer, images, pods
from components.lib.cluster.api import endpoint_of, health
from components.lib.cluster.finding import Finding, apply_overlay, asked
from components.lib.cluster.step_pod import GPU_RESOURCE, S3_SECRET_KEYS, SECRET_KEYS
from components.lib.inside import reason, unreachable
from components.lib.model.names import looks_local
from components.lib.recipe.paths import kind_of
from components.lib.recipe.schema import Cluster, Recipe

MISSING = "there is none"


def examine(recipe: Recipe, *, endpoint: str | None, namespace: str, service_account: str, pods: bool) -> int:
    """Print every check as it is made; returns 1 if one found something wrong. `pods` False starts none."""
    wrong = 0
    for finding in findings(recipe, endpoint, namespace, service_account, pods):
        print(finding, flush=True)
        wrong += not finding.ok
    print("the cluster is ready" if not wrong else f"{wrong} of the checks found something wrong", flush=True)
    return 1 if wrong else 0


def findings(
    recipe: Recipe, endpoint: str | None, namespace: str, service_account: str, with_pods: bool
) -> Iterator[Finding]:
    """All checks, the cheap ones first; without an API server of Kubernetes the rest is left out."""
    yield pipelines(endpoint)
    if not recipe.registry.startswith("s3://"):
        found = f"{recipe.registry} is no bucket" if recipe.registry else "none given"
        yield Finding(False, "registry", found, "--set registry=s3://BUCKET/PREFIX")
    try:
        client = pods.kubernetes_client()
        version = client.VersionApi().get_code(_request_timeout=pods.ASK_S).git_version
    except unreachable() as error:
        detail = f"does not answer: {reason(error)}"
        yield Finding(False, "kubernetes", detail, "set KUBECONFIG; try `kubectl get nodes`")
        return
    yield Finding(True, "kubernetes", version)
    core, storage, cluster = client.CoreV1Api(), client.StorageV1Api(), recipe.cluster
    there = asked("namespace", "read namespaces", namespace_there, core, namespace)
    yield there
    if there.detail == MISSING:
        return
    on_trainer = recipe.trainer == "trainjob"
    each = max(cluster.gpus, recipe.scale.processes) if on_trainer and cluster.gpus else cluster.gpus
    yield asked("account", "read ServiceAccounts", account, core, namespace, service_account)
    yield asked("gpu", "list nodes", gpus, core, each, recipe.scale.nodes if on_trainer else 1)
    for name, keys, needed in _secrets(recipe):
        yield asked(f"secret {name}", "read Secrets", secret, core, namespace, name, keys, needed)
    for claim in filter(None, (cluster.cache_claim, cluster.checkpoints_claim)):
        right = "read claims and list storage classes"
        yield asked(f"claim {claim}", right, volume, core, storage, namespace, claim)
    if on_trainer:
        yield from doctor_trainer.findings(client, recipe, namespace, service_account)
    if with_pods:
        yield from probes(core, recipe, namespace, service_account)


def _secrets(recipe: Recipe) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(name, keys, those that are needed) of each Secret that the steps use."""
    cluster = recipe.cluster
    if cluster.secret:
        yield cluster.secret, SECRET_KEYS, ("HF_TOKEN",) if recipe.push.hub_repo else ()
    if cluster.s3_secret and recipe.registry.startswith("s3://"):
        yield cluster.s3_secret, tuple(S3_SECRET_KEYS), ("accesskey", "secretkey")


def pipelines(endpoint: str | None) -> Finding:
    """Kubeflow Pipelines answers, and in which version."""
    try:
        address = endpoint_of(endpoint)
        found = health(address)
    except ValueError as error:
        problem, _, fix = str(error).partition("; ")
        return Finding(False, "pipelines", problem, fix)
    return Finding(True, "pipelines", f"{found.get('tag_name') or 'unknown version'} at {address}")


def namespace_there(core: Any, name: str) -> Finding:
    """The namespace of the steps is there; without it nothing else is."""
    if pods.if_there(core.read_namespace, name) is None:
        return Finding(False, f"namespace {name}", MISSING, f"--namespace NAME, or kubectl create namespace {name}")
    return Finding(True, f"namespace {name}", "is there")


def account(core: Any, namespace: str, name: str) -> Finding:
    """The steps' account is there; a run of the UI or of stock tools gets the one that the API server names."""
    found = pods.if_there(core.read_namespaced_service_account, name, namespace)
    detail = f"{name}, of runs by submit and schedule; those of the UI get what the API server names"
    return Finding(found is not None, "account", detail if found else f"there is no {name}", apply_overlay())


def gpus(core: Any, wanted: int, at_once: int = 1) -> Finding:
    """The nodes can give as many GPUs as a step requests, or as `at_once` Pods of a TrainJob do."""
    found = []
    for node in core.list_node(_request_timeout=pods.ASK_S).items:
        count = int(node.status.allocatable.get(GPU_RESOURCE, "0"))
        product = (node.metadata.labels or {}).get(f"{GPU_RESOURCE}.product", "")
        found.append((count, f"{node.metadata.name} has {count}{' ' + product if product else ''}"))
    asks = f"a step requests {wanted}" if at_once == 1 else f"{at_once} Pods request {wanted} each"
    detail = f"{asks}; allocatable: {', '.join(text for _, text in found) or 'there is no node'}"
    return Finding(
        sum(count // wanted if wanted else at_once for count, _ in found) >= at_once,
        "gpu",
        detail,
        "apply an overlay with components/gpu and see `kubectl -n nvidia-device-plugin logs ds/nvidia-device-plugin`",
    )


def secret(core: Any, namespace: str, name: str, keys: tuple[str, ...], needed: tuple[str, ...]) -> Finding:
    """A Secret is there and has the keys that are needed, none of them empty."""
    fix = f"kubectl -n {namespace} create secret generic {name} " + " ".join(f"--from-literal={k}=..." for k in keys)
    what = f"secret {name}"
    found = pods.if_there(core.read_namespaced_secret, name, namespace)
    if found is None:
        return Finding(not needed, what, "there is none" + ("" if needed else "; it is optional"), fix)
    filled = [key for key in keys if (found.data or {}).get(key)]
    missing = [key for key in needed if key not in filled]
    detail = f"has {', '.join(filled) or 'none of its keys'}" + (f", misses {', '.join(missing)}" if missing else "")
    return Finding(not missing, what, detail, f"kubectl -n {namespace} delete secret {name}; {fix}")


def volume(core: Any, storage: Any, namespace: str, name: str) -> Finding:
    """A claim is bound, or waits for its first consumer as its class wants."""
    what = f"claim {name}"
    claim = pods.if_there(core.read_namespaced_persistent_volume_claim, name, namespace)
    if claim is None:
        return Finding(False, what, "there is none", apply_overlay())
    if claim.status.phase == "Bound":
        return Finding(True, what, f"bound, {claim.status.capacity['storage']}")
    listed = storage.list_storage_class(_request_timeout=pods.ASK_S).items
    classes = {item.metadata.name: item.volume_binding_mode for item in listed}
    if classes.get(claim.spec.storage_class_name) == "WaitForFirstConsumer":
        return Finding(True, what, f"waits for its first consumer (class {claim.spec.storage_class_name})")
    wanted = claim.spec.storage_class_name or "none"
    detail = f"{claim.status.phase.lower()}, class {wanted}; the cluster has {', '.join(classes) or 'no class'}"
    # Neither the class of a claim nor the Job that uses it can be changed.
    anew = f"kubectl -n {namespace} delete job/grpo-prepare pvc/{name} --ignore-not-found"
    other = f"name another class in manifests/base/claims.yaml; {anew}; {apply_overlay()}"
    look = f"kubectl -n {namespace} describe pvc {name}"
    return Finding(False, what, detail, look if wanted in classes else other)


def probes(core: Any, recipe: Recipe, namespace: str, service_account: str) -> Iterator[Finding]:
    """Start a Pod like each kind of step and report what it found inside."""
    cluster = recipe.cluster
    for kind, image in (("data", images.data()), ("trainer", images.trainer())):
        heavy = kind == "trainer"
        print(f"       starting a Pod like a step of the {kind} image ...", file=sys.stderr, flush=True)
        asks = () if heavy else _asks(recipe)
        manifest = pods.probe_pod(cluster, image, heavy, asks=asks, service_account=service_account)
        result = pods.run(core, namespace, manifest)
        if result.problem:
            yield Finding(False, f"{kind} pod", result.problem, _fix(result.problem, image, namespace))
        for text in result.log.splitlines():
            if text.startswith("{"):
                yield _from_pod(Finding(**json.loads(text)), kind, cluster, namespace)


def _asks(recipe: Recipe) -> list[str]:
    """What the probe of the data image asks of bucket and Hub, as preflight will."""
    asks = ["--registry", recipe.registry] if recipe.registry.startswith("s3://") else []
    asks += ["--hub"] if needs_hub(recipe) else []
    for flag, kind in (("--push", "model"), ("--push-data", "dataset")):
        asks += [flag, recipe.hub_repos[kind]] if kind in recipe.hub_repos else []
    return asks + (["--model-registry", recipe.push.model_registry] if recipe.push.model_registry else [])


def needs_hub(recipe: Recipe) -> bool:
    """Whether a run of a recipe reads or writes the Hub."""
    sources = any(kind_of(source.path) == "hub" for source in (*recipe.sources, *recipe.evaluation))
    return sources or bool(recipe.hub_repos) or not (recipe.model == "tiny" or looks_local(recipe.model))


def _fix(problem: str, image: str, namespace: str) -> str:
    if "cannot create resource" in problem:
        return "ask for the right to create Pods, to read their logs and to delete them, or add --no-pods"
    if "image" in problem.lower():
        return f"push {image} to a registry that the node reaches (`make image REGISTRY=...`, GRPO_IMAGE_PREFIX, _TAG)"
    if "insufficient" in problem.lower() or "didn't match" in problem.lower():
        return "change --set cluster_... (requests, selector, tolerations), or free the node"
    return f"kubectl -n {namespace} get events --sort-by=.lastTimestamp"


def _from_pod(finding: Finding, kind: str, cluster: Cluster, namespace: str) -> Finding:
    """What was found inside a Pod of an image's `kind`, with its fix."""
    fixes = {
        "volume": f"kubectl -n {namespace} delete job grpo-prepare; apply the overlay with components/root-chown",
        "registry": f"check the Secret {cluster.s3_secret}, the bucket's name and --set cluster_s3_endpoint",
        "hub": "open the way from Pods to the Hub, its proxy and its name, or name a mirror by HF_ENDPOINT",
        "hub token": f"put a valid HF_TOKEN into the Secret {cluster.secret}, or none",
        "push": f"put an HF_TOKEN that may write into the Secret {cluster.secret}, or change --set push_hub_repo",
        "model registry": f"change --set push_model_registry, or MODEL_REGISTRY_TOKEN in the Secret {cluster.secret}",
        "gpu": "make nvidia the node's default runtime: docs/troubleshooting.md",
    }
    fix = fixes.get(finding.what) or fixes.get(finding.what.split()[0], "")
    return replace(finding, what=f"{finding.what} ({kind} pod)", fix=fix)
