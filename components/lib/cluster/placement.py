"""Where and how each step's Pod runs: what `Cluster` says, put onto the KFP tasks when a pipeline is compiled.

Everything here is fixed at compile time. KFP could take some of it as run parameters, but its driver dies of a
resource or image parameter inside an If or ExitHandler, where nearly all steps are.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

from components.lib.cluster import images
from components.lib.cluster.step_pod import (
    CHECKPOINTS,
    GPU_RESOURCE,
    START_TIMEOUT,
    STEP_SECRETS,
    USER,
    StepPod,
    step_pod,
)
from components.lib.model.files import check_hub_id
from components.lib.model.names import EMBEDDED, looks_local
from components.lib.recipe.paths import absolute, kind_of
from components.lib.recipe.schema import STAGES, Cluster, Recipe
from components.lib.recipe.settings import replace
from components.lib.registry.record import REGISTRY_VARIABLE, RUN_ID_VARIABLE


def for_cluster(recipe: Recipe) -> Recipe:
    """The recipe as a cluster runs it: checkpoints go to their claim unless the recipe names a directory.

    `ValueError` if a step would see fewer GPUs than it has processes, a TrainJob's Pods no common checkpoints, or the
    steps not what lies on this machine.
    """
    recipe = absolute(recipe)  # what is a path here must not be taken for a Hub id there
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
    _check_places(recipe)
    return recipe


def _check_places(recipe: Recipe) -> None:
    """Refuse a model, source or registry on a disk that not every step has; checkers travel with the recipe."""
    claims = step_pod(recipe.cluster, heavy=False).claims
    mounted = " or ".join(f"put it on the claim {claim} and name it below {mount}" for mount, claim in claims.items())
    for what, path, elsewhere in _places(recipe):
        if not _below(path, claims):
            mend = f"{elsewhere}, or {mounted or 'put it on a claim that cluster_cache_claim names'}"
            raise ValueError(f"{what} {path} lies where not every step's Pod mounts it; {mend}")
    if recipe.registry and "://" in recipe.registry and not recipe.registry.startswith("s3://"):
        raise ValueError(f"registry {recipe.registry} is no s3:// address; write s3://BUCKET/PREFIX")
    mounts = step_pod(recipe.cluster, heavy=True).claims
    if recipe.checkpoints and not _below(recipe.checkpoints, mounts):
        raise ValueError(
            f"checkpoints {recipe.checkpoints} lies on no volume of a training Pod; name a path below "
            f"{' or '.join(mounts) or 'that of a claim, by cluster_checkpoints_claim'}"
        )


def _below(path: str, mounts: Iterable[str]) -> bool:
    return any(PurePath(os.path.normpath(path)).is_relative_to(mount) for mount in mounts)


def _places(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """(what it is, its path, what to name in its place) of all that a recipe has on a disk."""
    if looks_local(recipe.model):
        yield "model", recipe.model, "upload it to the Hub and name its id"
    elif recipe.model not in EMBEDDED:
        check_hub_id(recipe.model)
    for source in (*recipe.sources, *recipe.evaluation):
        if kind_of(source.path) == "file":
            yield f"source {source.label!r}:", source.path, "upload it to s3:// or the Hub"
    if recipe.registry and "://" not in recipe.registry:
        yield "registry", recipe.registry, "write s3://BUCKET/PREFIX"


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


def place_all(cluster: Cluster, registry: str = "") -> None:
    """Place every task of the pipeline that is being built; to be called at the end of its function.

    `registry` reaches the steps as an environment variable, which KFP's cache does not look at.
    """
    from kfp.dsl import pipeline_context

    for task in pipeline_context.Pipeline.get_default_pipeline().tasks.values():
        _place(task, cluster)
        if registry:
            task.set_env_variable(REGISTRY_VARIABLE, registry)


def _place(task: Any, cluster: Cluster) -> None:
    """Put onto one KFP task everything that its Pod needs; steps of the trainer image are the heavy ones."""
    from kfp import kubernetes

    heavy = images.is_trainer(task.container_spec.image)
    task.set_container_image(images.trainer() if heavy else images.data())
    # SFT and GRPO on the light image launch a TrainJob: they wait for it and share its checkpoints.
    launches = task.name in STAGES and not heavy
    secrets = STEP_SECRETS.get(re.sub(r"-\d+$", "", task.name), ())  # the second `evaluate` is evaluate-2
    # Preflight deletes old checkpoints.
    checkpoints = launches or task.name == "preflight"
    _render(task, step_pod(cluster, heavy, secrets=secrets, checkpoints=checkpoints))
    for name, value in images.choice().items() if launches else ():  # of the image that the TrainJob runs
        task.set_env_variable(name, value)
    kubernetes.set_timeout(task, cluster.train_timeout_s if heavy or launches else cluster.data_timeout_s)
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    kubernetes.set_image_pull_policy(task, cluster.image_pull_policy)
    if cluster.image_pull_secret:
        kubernetes.set_image_pull_secrets(task, [cluster.image_pull_secret])
    # A run's id as an argument would make every run miss KFP's cache, so it reaches the steps this way.
    kubernetes.use_field_path_as_env(task, RUN_ID_VARIABLE, "metadata.labels['pipeline/runid']")
    kubernetes.add_pod_label(task, "app.kubernetes.io/part-of", "grpo-pipeline")
    kubernetes.add_pod_annotation(task, START_TIMEOUT, str(cluster.start_timeout_s))
    # A Pod that vanished is tried again by Argo's own settings; a failed step only where a cluster has changed them.
    if cluster.retries and (heavy or launches):
        task.set_retry(cluster.retries, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="600s")


def _render(task: Any, pod: StepPod) -> None:
    """Say to KFP what a Pod has."""
    from kfp import kubernetes

    task.set_cpu_request(pod.requests["cpu"]).set_memory_request(pod.requests["memory"])
    if memory := pod.limits.get("memory"):
        task.set_memory_limit(memory)
    if gpus := pod.limits.get(GPU_RESOURCE):
        task.set_accelerator_type(GPU_RESOURCE).set_accelerator_limit(gpus)
    for name, value in pod.environment.items():
        task.set_env_variable(name, value)
    for secret, keys in pod.secrets:
        kubernetes.use_secret_as_env(task, secret, keys, optional=True)
    for path, claim in pod.claims.items():
        kubernetes.mount_pvc(task, claim, path)
    if pod.shm:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=pod.shm)
    for label, value in pod.selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in pod.tolerations:
        kubernetes.add_toleration(task, **toleration)


def pipeline_config(recipe: Recipe) -> Any:
    """KFP's pipeline-wide settings: when the run as a whole is ended, and how long Argo keeps an ended workflow."""
    from kfp import dsl

    return dsl.PipelineConfig(
        active_deadline_seconds=deadline_s(recipe), ttl_seconds_after_finished=recipe.cluster.keep_s
    )


def deadline_s(recipe: Recipe) -> int:
    """The seconds that a run has, its exit handler apart: what its steps may take together, starting included.

    All of them, since on one GPU they wait for each other. Argo's limit of a step does not run before its Pod has
    begun; this one ends Pods that are still pending.
    """
    cluster = recipe.cluster
    heavy = 2 * len(recipe.stages) + 1 + bool(recipe.sample.problems)  # each stage and its evaluation, that of the base
    light = len(("preflight", "standardize", "gate", "compare", "push"))
    return sum(
        steps * (limit + cluster.start_timeout_s)
        for steps, limit in ((heavy, cluster.train_timeout_s), (light, cluster.data_timeout_s))
    )
