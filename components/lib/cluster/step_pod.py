"""What the Pod of a step has, by whomever it is made: placement.py for KFP, pods.py, trainjob.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.lib.recipe.schema import Cluster

USER = 10001  # the images' user and group
CACHE, CHECKPOINTS = "/cache", "/checkpoints"
HUB_CACHE = f"{CACHE}/huggingface"
GPU_RESOURCE = "nvidia.com/gpu"
START_TIMEOUT = "grpo-pipeline/start-timeout-s"  # annotation of a step's Pod
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
GIB_IN_MIB = 1024
HUB = ("HF_TOKEN",)
PUSH = (*HUB, "MODEL_REGISTRY_TOKEN")
TRAINING = (*HUB, "WANDB_API_KEY", "TRACKIO_SPACE_ID")
# Step -> what it gets of the Secret `cluster.secret`, key and environment variable alike; the others get nothing.
STEP_SECRETS = {
    "preflight": (*PUSH, "NOTIFY_WEBHOOK"), "sample": HUB, "standardize": HUB, "sft": TRAINING, "grpo": TRAINING,
    "evaluate": HUB, "push": PUSH, "notify": ("NOTIFY_WEBHOOK",),
}  # fmt: skip
SECRET_KEYS = tuple(dict.fromkeys(key for keys in STEP_SECRETS.values() for key in keys))
# Key of the bucket's Secret -> environment variable.
S3_SECRET_KEYS = {
    "accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY", "sessiontoken": "AWS_SESSION_TOKEN",
    "region": "AWS_REGION",
}  # fmt: skip
KERNEL_CACHES = {"VLLM_CACHE_ROOT": "vllm", "TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor"}


@dataclass(frozen=True)
class StepPod:
    """What one Pod has, as plain values."""

    environment: dict[str, str]
    # (Secret, its keys -> their variables), all optional: a step that misses one says so at once, while its Pod would
    # wait for it until the timeout.
    secrets: list[tuple[str, dict[str, str]]]
    claims: dict[str, str]  # where it is mounted -> PersistentVolumeClaim
    shm: str  # size of /dev/shm in memory; empty: the container's own
    requests: dict[str, str]  # resource -> quantity
    limits: dict[str, str]
    selector: dict[str, str]  # label -> value of the node
    tolerations: list[dict[str, str]]

    def env(self) -> list[dict[str, Any]]:
        """The environment as a container of Kubernetes has it; secrets are references."""
        found: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in self.environment.items()]
        for secret, keys in self.secrets:
            for key, variable in keys.items():
                source = {"secretKeyRef": {"name": secret, "key": key, "optional": True}}
                found.append({"name": variable, "valueFrom": source})
        return found

    def volumes(self) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        """The volumes as a Pod of Kubernetes has them, and where its container mounts them."""
        mounts = [{"name": path.strip("/"), "mountPath": path} for path in self.claims]
        claims = [{"claimName": claim} for claim in self.claims.values()]
        volumes: list[dict[str, Any]] = [
            {"name": mount["name"], "persistentVolumeClaim": claim} for mount, claim in zip(mounts, claims, strict=True)
        ]
        if self.shm:
            volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": self.shm}})
            mounts.append({"name": "shm", "mountPath": "/dev/shm"})
        return volumes, mounts


def step_pod(
    cluster: Cluster, heavy: bool, *, secrets: Sequence[str] = (), bucket: bool = True, checkpoints: bool = False,
    processes: int = 1, gpus: int | None = None,
) -> StepPod:  # fmt: skip
    """The Pod of a step; a `heavy` one uses a model, hence the GPU, the checkpoints and the caches of kernels.

    It gets those `secrets`, keys of the Secret `cluster.secret`, and what opens the `bucket`. `checkpoints` mounts them
    in another one too. A Pod of several `processes` has what a step has for each of them, and `gpus` in place of the
    step's.
    """
    caches = KERNEL_CACHES if heavy else {}
    environment = {"HF_HOME": HUB_CACHE} | {name: f"{CACHE}/{folder}" for name, folder in caches.items()}
    environment = environment if cluster.cache_claim else {}
    if cluster.s3_endpoint:
        environment["S3_ENDPOINT"] = cluster.s3_endpoint
    if heavy:  # torch would take all the cores that the node has
        environment["OMP_NUM_THREADS"] = str(max(1, int(cluster.train_cpu)))
    if heavy and cluster.gpu_uuid:
        environment["NVIDIA_VISIBLE_DEVICES"] = cluster.gpu_uuid
    named = [(cluster.secret, {key: key for key in secrets}), (cluster.s3_secret, S3_SECRET_KEYS if bucket else {})]
    claims = {CACHE: cluster.cache_claim, CHECKPOINTS: cluster.checkpoints_claim if heavy or checkpoints else ""}
    cpu = cluster.train_cpu if heavy else cluster.data_cpu
    memory = cluster.train_memory_gib if heavy else cluster.data_memory_gib
    gpus, limits = cluster.gpus if gpus is None else gpus, {}
    if heavy and gpus:
        limits[GPU_RESOURCE] = str(gpus)
    if heavy and cluster.memory_limit_gib:
        limits["memory"] = _mebibytes(processes * cluster.memory_limit_gib)
    return StepPod(
        environment=environment,
        secrets=[(secret, keys) for secret, keys in named if secret and keys],
        claims={path: claim for path, claim in claims.items() if claim},
        # A container's own /dev/shm has 64 MiB, too little for vLLM and for workers of a data loader.
        shm=_mebibytes(cluster.shm_gib) if heavy else "",
        requests={"cpu": f"{round(processes * cpu * 1000)}m", "memory": _mebibytes(processes * memory)},
        limits=limits,
        selector=dict(node_label(text) for text in cluster.node_selector) if heavy else {},
        tolerations=[toleration(text) for text in cluster.tolerations] if heavy else [],
    )


def toleration(text: str) -> dict[str, str]:
    """A toleration from `key[=value][:effect]`; `ValueError` names a bad text and the valid ones."""
    taint, colon, effect = text.partition(":")
    key, equals, value = taint.partition("=")
    if not key or (colon and effect not in EFFECTS) or (equals and not value):
        raise ValueError(
            f"cluster_tolerations: {text!r} is not key[=value][:effect]; an effect is {', '.join(EFFECTS)}"
        )
    found = {"key": key, "operator": "Equal", "value": value} if equals else {"key": key, "operator": "Exists"}
    return found | ({"effect": effect} if effect else {})


def node_label(text: str) -> tuple[str, str]:
    """Label and value of a node selector from `label=value`; `ValueError` names a bad text."""
    label, equals, value = text.partition("=")
    if not label or not equals:
        raise ValueError(f"cluster_node_selector: {text!r} is not label=value, as nvidia.com/gpu.product=NAME")
    return label, value


def _mebibytes(gib: float) -> str:
    """A Kubernetes quantity from GiB, in whole MiB."""
    return f"{round(gib * GIB_IN_MIB)}Mi"
