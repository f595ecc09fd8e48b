"""Where and how each step's Pod runs: what `Cluster` says, put onto the KFP tasks when a pipeline is compiled.

Everything here is fixed at compile time. KFP could take some of it as run parameters, but its driver dies of a
resource or image parameter inside an If or ExitHandler, where nearly all steps are.
"""

from pathlib import PurePath
from typing import Any

from components.lib.cluster import images
from components.lib.recipe.schema import STAGES, Cluster, Recipe
from components.lib.recipe.settings import replace
from components.lib.registry.record import RUN_ID_VARIABLE

USER = 10001  # the images' user and group
CACHE, CHECKPOINTS = "/cache", "/checkpoints"
HUB_CACHE = f"{CACHE}/huggingface"
GPU_RESOURCE = "nvidia.com/gpu"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
GIB_IN_MIB = 1024
# Environment variable -> key of the Secret.
SECRET_KEYS = ("HF_TOKEN", "NOTIFY_WEBHOOK", "WANDB_API_KEY", "TRACKIO_SPACE_ID")
S3_SECRET_KEYS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
KERNEL_CACHES = {"VLLM_CACHE_ROOT": "vllm", "TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor"}


def for_cluster(recipe: Recipe) -> Recipe:
    """The recipe as a cluster runs it: checkpoints go to their claim unless the recipe names a place.

    `ValueError` if a step would see fewer GPUs than it has processes, or a TrainJob's Pods no common checkpoints.
    """
    cluster, trainjob = recipe.cluster, recipe.trainer == "trainjob"
    if not recipe.checkpoints and cluster.checkpoints_claim:
        recipe = replace(recipe, checkpoints=CHECKPOINTS)
    _check_gpus(cluster, recipe.scale.processes, trainjob)
    if trainjob and not (cluster.checkpoints_claim and PurePath(recipe.checkpoints).is_relative_to(CHECKPOINTS)):
        raise ValueError(
            f"trainer=trainjob with cluster_checkpoints_claim={cluster.checkpoints_claim!r} and checkpoints="
            f"{recipe.checkpoints!r}: its Pods share no checkpoints; name a claim, and leave checkpoints empty or "
            f"below {CHECKPOINTS}"
        )
    return recipe


def _check_gpus(cluster: Cluster, processes: int, trainjob: bool) -> None:
    if cluster.gpu_uuid and processes > 1:
        raise ValueError(
            f"scale_processes is {processes}, but cluster_gpu_uuid shows a Pod one GPU; leave it empty, or set "
            "scale_processes=1"
        )
    # A TrainJob's Pod requests a GPU for each process by itself.
    if not trainjob and 0 < cluster.gpus < processes:
        raise ValueError(
            f"scale_processes is {processes}, but a step requests cluster_gpus={cluster.gpus}; set "
            f"cluster_gpus={processes}"
        )


def place_all(cluster: Cluster) -> None:
    """Place every task of the pipeline that is being built; to be called at the end of its function."""
    from kfp.dsl import pipeline_context

    for task in pipeline_context.Pipeline.get_default_pipeline().tasks.values():
        place(task, cluster)


def place(task: Any, cluster: Cluster) -> None:
    """Put onto one KFP task everything that its Pod needs; steps of the trainer image are the heavy ones."""
    heavy = task.container_spec.image == images.TRAINER
    # SFT and GRPO on the light image launch a TrainJob: they wait for it and share its checkpoints.
    launches = task.name in STAGES and not heavy
    _common(task, cluster, heavy, cluster.train_timeout_s if heavy or launches else cluster.data_timeout_s)
    _secrets(task, cluster)
    _volumes(task, cluster, heavy)
    if launches or task.name == "preflight":  # preflight deletes old ones
        _checkpoints(task, cluster)
    if launches:
        for name, value in images.CHOICE.items():  # of the image that the TrainJob runs
            task.set_env_variable(name, value)
    if heavy:
        _heavy(task, cluster)
    # A Pod that vanished is tried again by Argo's own settings; a failed step only where a cluster has changed them.
    if cluster.retries and (heavy or launches):
        task.set_retry(cluster.retries, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="600s")


def pipeline_config(cluster: Cluster) -> Any:
    """KFP's pipeline-wide settings: how long Argo keeps an ended workflow."""
    from kfp import dsl

    return dsl.PipelineConfig(ttl_seconds_after_finished=cluster.keep_s)


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


def _common(task: Any, cluster: Cluster, heavy: bool, timeout_s: int) -> None:
    from kfp import kubernetes

    asked = requests(cluster, heavy)
    task.set_cpu_request(asked["cpu"]).set_memory_request(asked["memory"])
    kubernetes.set_timeout(task, timeout_s)
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    kubernetes.set_image_pull_policy(task, cluster.image_pull_policy)
    if cluster.image_pull_secret:
        kubernetes.set_image_pull_secrets(task, [cluster.image_pull_secret])
    # A run's id as an argument would make every run miss KFP's cache, so it reaches the steps this way.
    kubernetes.use_field_path_as_env(task, RUN_ID_VARIABLE, "metadata.labels['pipeline/runid']")
    kubernetes.add_pod_label(task, "app.kubernetes.io/part-of", "grpo-pipeline")


def _secrets(task: Any, cluster: Cluster) -> None:
    """All optional: a step that misses one says so at once, while its Pod would wait for it until the timeout."""
    from kfp import kubernetes

    if cluster.secret:
        kubernetes.use_secret_as_env(task, cluster.secret, {key: key for key in SECRET_KEYS}, optional=True)
    if cluster.s3_secret:
        kubernetes.use_secret_as_env(task, cluster.s3_secret, S3_SECRET_KEYS, optional=True)
    if cluster.s3_endpoint:
        task.set_env_variable("S3_ENDPOINT", cluster.s3_endpoint)


def _volumes(task: Any, cluster: Cluster, heavy: bool) -> None:
    from kfp import kubernetes

    if cluster.cache_claim:
        kubernetes.mount_pvc(task, cluster.cache_claim, CACHE)
        for variable, folder in kernel_caches().items() if heavy else [("HF_HOME", HUB_CACHE)]:
            task.set_env_variable(variable, folder)
    if heavy:
        _checkpoints(task, cluster)
        # A container's own /dev/shm has 64 MiB, too little for vLLM and for workers of a data loader.
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=mebibytes(cluster.shm_gib))


def _checkpoints(task: Any, cluster: Cluster) -> None:
    from kfp import kubernetes

    if cluster.checkpoints_claim:
        kubernetes.mount_pvc(task, cluster.checkpoints_claim, CHECKPOINTS)


def kernel_caches() -> dict[str, str]:
    """The variables that put the caches of the Hub and of compiled kernels onto the claim."""
    return {"HF_HOME": HUB_CACHE, **{name: f"{CACHE}/{folder}" for name, folder in KERNEL_CACHES.items()}}


def requests(cluster: Cluster, heavy: bool) -> dict[str, str]:
    """The cores and the memory that a step's Pod requests."""
    cpu = cluster.train_cpu if heavy else cluster.data_cpu
    memory = cluster.train_memory_gib if heavy else cluster.data_memory_gib
    return {"cpu": f"{round(cpu * 1000)}m", "memory": mebibytes(memory)}


def threads(cluster: Cluster) -> str:
    """OMP_NUM_THREADS for a heavy step: the cores that it requests, since torch would take all that the node has."""
    return str(max(1, int(cluster.train_cpu)))


def _heavy(task: Any, cluster: Cluster) -> None:
    from kfp import kubernetes

    task.set_env_variable("OMP_NUM_THREADS", threads(cluster))
    if cluster.gpus:
        task.set_accelerator_type(GPU_RESOURCE).set_accelerator_limit(cluster.gpus)
    if cluster.gpu_uuid:
        task.set_env_variable("NVIDIA_VISIBLE_DEVICES", cluster.gpu_uuid)
    if cluster.memory_limit_gib:
        task.set_memory_limit(mebibytes(cluster.memory_limit_gib))
    for text in cluster.node_selector:
        kubernetes.add_node_selector(task, *node_label(text))
    for text in cluster.tolerations:
        kubernetes.add_toleration(task, **toleration(text))


def mebibytes(gib: float) -> str:
    """A Kubernetes quantity from GiB, in whole MiB."""
    return f"{round(gib * GIB_IN_MIB)}Mi"
