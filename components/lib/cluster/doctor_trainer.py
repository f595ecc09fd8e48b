"""What `doctor` asks of a cluster for trainer=trainjob: Kubeflow Trainer, our runtime, rights, shared checkpoints."""

from collections.abc import Iterator
from typing import Any

from components.lib.cluster.api import message_of
from components.lib.cluster.finding import Finding, apply_overlay, asked
from components.lib.cluster.pods import ASK_S, if_there, refused
from components.lib.cluster.trainjob import APPLY, BUSY, GROUP, INSTALL, PLURAL, VERSION
from components.lib.recipe.schema import Recipe

FORBIDDEN = 403  # HTTP status
WEBHOOK_S = 15  # Kubernetes waits 10 s for a webhook
LOOK = "kubectl -n kubeflow-system get pods; the controller-manager of Kubeflow Trainer must run"
MISSING = "not installed: the cluster knows no TrainJob"
# What the launching step asks; manifests/components/trainer/role.yaml grants it.
RIGHTS = (
    (GROUP, PLURAL, "", ("create", "get", "list", "delete")),
    ("", "pods", "", ("list",)),
    ("", "pods", "log", ("get",)),
    ("", "events", "", ("list",)),
)


def findings(client: Any, recipe: Recipe, namespace: str, service_account: str) -> Iterator[Finding]:
    """All checks of Kubeflow Trainer; without its CRD no runtime and rights."""
    custom, cluster = client.CustomObjectsApi(), recipe.cluster
    installed = asked("trainer", "list TrainJobs", trainer, custom, namespace)
    yield installed
    name, claim = recipe.scale.runtime, cluster.checkpoints_claim
    if installed.detail != MISSING:
        right = "read TrainingRuntimes"
        yield asked(f"runtime {name}", right, runtime, custom, namespace, name, cluster.image_pull_secret)
        yield asked("trainer's controller", "create TrainJobs", controller, custom, namespace, name)
        right = "create SubjectAccessReviews"
        yield asked("rights", right, rights, client.AuthorizationV1Api(), namespace, service_account)
    # Of one node too: the launching step and the Pod of its job mount it.
    yield asked(
        f"claim {claim} for several Pods", "list nodes and read claims", shared, client.CoreV1Api(), namespace, claim
    )


def trainer(custom: Any, namespace: str) -> Finding:
    """The API server knows TrainJobs."""
    if if_there(custom.list_namespaced_custom_object, GROUP, VERSION, namespace, PLURAL, limit=1) is None:
        return Finding(False, "trainer", MISSING, INSTALL)
    return Finding(True, "trainer", f"serves TrainJob {VERSION}")


def controller(custom: Any, namespace: str, name: str) -> Finding:
    """Kubeflow Trainer's controller works: its webhook answers about a job that is not made (a dry run)."""
    job = {
        "apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainJob", "metadata": {"name": "grpo-doctor"},
        "spec": {"runtimeRef": {"name": name, "kind": "TrainingRuntime", "apiGroup": GROUP}},
    }  # fmt: skip
    try:
        custom.create_namespaced_custom_object(
            GROUP, VERSION, namespace, PLURAL, job, dry_run="All", _request_timeout=WEBHOOK_S
        )
    except refused() as error:
        if error.status >= BUSY:
            return Finding(False, "trainer's controller", f"does not answer: {message_of(error)}", LOOK)
        if error.status == FORBIDDEN and "webhook" not in message_of(error):
            raise
    return Finding(True, "trainer's controller", "answers")


def runtime(custom: Any, namespace: str, name: str, pull_secret: str) -> Finding:
    """The TrainingRuntime is there, and pulls images as the recipe says: a TrainJob cannot say it itself."""
    what = f"runtime {name}"
    found = if_there(custom.get_namespaced_custom_object, GROUP, VERSION, namespace, "trainingruntimes", name)
    if found is None:
        return Finding(False, what, "there is none", f"kubectl -n {namespace} {APPLY}")
    jobs = found["spec"]["template"]["spec"]["replicatedJobs"]
    secrets = jobs[0]["template"]["spec"]["template"]["spec"].get("imagePullSecrets", [])
    if pull_secret and {"name": pull_secret} not in secrets:
        return Finding(
            False, what, f"does not pull images with {pull_secret}", "add imagePullSecrets to its Pods in "
            "manifests/components/trainer/runtime.yaml and apply it",
        )  # fmt: skip
    return Finding(True, what, "is there")


def rights(authorization: Any, namespace: str, account: str) -> Finding:
    """The steps' service account may do what the launching step does."""
    from kubernetes import client

    missing = []
    for group, resource, part, verbs in RIGHTS:
        for verb in verbs:
            asked = client.V1ResourceAttributes(
                group=group, resource=resource, subresource=part or None, verb=verb, namespace=namespace
            )
            user = f"system:serviceaccount:{namespace}:{account}"
            review = client.V1SubjectAccessReview(
                spec=client.V1SubjectAccessReviewSpec(user=user, resource_attributes=asked)
            )
            if not authorization.create_subject_access_review(review, _request_timeout=ASK_S).status.allowed:
                missing.append(f"{verb} {resource}{'/' + part if part else ''}")
    detail = f"{account} may {'not ' + ', '.join(missing) if missing else 'launch and follow TrainJobs'}"
    return Finding(not missing, "rights", detail, f"kubectl -n {namespace} {APPLY} (its subject: {account})")


def shared(core: Any, namespace: str, claim: str) -> Finding:
    """Several Pods can mount the checkpoints: on several nodes only a volume that many may write."""
    what = f"claim {claim} for several Pods"
    nodes = len(core.list_node(_request_timeout=ASK_S).items)
    found = if_there(core.read_namespaced_persistent_volume_claim, claim, namespace)
    if found is None:
        return Finding(False, what, "there is none", apply_overlay())
    modes = found.spec.access_modes
    fits = "ReadWriteMany" in modes or (nodes == 1 and "ReadWriteOncePod" not in modes)
    detail = f"{', '.join(modes)}, and the cluster has {nodes} node{'s' * (nodes != 1)}"
    return Finding(fits, what, detail, "make it ReadWriteMany, on a storage class that can (NFS, CephFS)")
