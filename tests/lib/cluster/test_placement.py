"""What a cluster's settings put onto each task of the compiled pipeline."""

import pytest
import yaml
from kfp import compiler

import pipeline
from components.lib.cluster import images
from components.lib.cluster.placement import for_cluster
from components.lib.cluster.pods import probe_pod
from components.lib.cluster.step_pod import node_label, toleration
from components.lib.recipe import recipes
from components.lib.recipe.schema import Cluster
from components.lib.recipe.settings import from_json

HEAVY = {"exec-sft", "exec-grpo", "exec-evaluate", "exec-evaluate-2", "exec-evaluate-3"}


def compiled(tmp_path, recipe=recipes.QWEN, **changes):
    """(containers, settings for Kubernetes) of each executor, by its name, and the whole platform's."""
    changed = recipes.override(recipe, {f"cluster_{name}": value for name, value in changes.items()})
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline.build(changed), str(path))
    spec, platform = yaml.safe_load_all(path.read_text())
    containers = {name: part["container"] for name, part in spec["deploymentSpec"]["executors"].items()}
    kubernetes = platform["platforms"]["kubernetes"]
    return containers, kubernetes["deploymentSpec"]["executors"], kubernetes


def test_the_heavy_steps_are_those_of_the_trainer_image(tmp_path):
    containers, _, _ = compiled(tmp_path)
    assert {name for name, c in containers.items() if c["image"] == images.trainer()} == HEAVY
    assert all(c["image"] == images.data() for name, c in containers.items() if name not in HEAVY)


def test_the_build_is_the_one_that_the_environment_names_when_the_pipeline_is_compiled(tmp_path, monkeypatch):
    compiled(tmp_path)  # the components are imported by now
    monkeypatch.setenv("GRPO_IMAGE_TAG", "another")
    containers, _, _ = compiled(tmp_path)
    names = {"grpo-pipeline/data:another", "grpo-pipeline/trainer:another"}
    assert {container["image"] for container in containers.values()} == names
    assert {name for name, c in containers.items() if c["image"] == images.trainer()} == HEAVY


def test_sampling_is_a_heavy_step(tmp_path):
    containers, settings, _ = compiled(tmp_path, recipes.override(recipes.QWEN, {"sample_problems": "5"}))
    assert {name for name, c in containers.items() if c["image"] == images.trainer()} == HEAVY | {"exec-sample"}
    assert settings["exec-sample"] == settings["exec-evaluate"]
    assert containers["exec-sample"]["resources"] == containers["exec-evaluate"]["resources"]


def test_every_step_has_user_deadline_secrets_label_and_cache(tmp_path):
    containers, settings, _ = compiled(tmp_path)
    assert set(settings) == set(containers)
    for name, found in settings.items():
        assert found["securityContext"] == {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}, name
        assert found["activeDeadlineSeconds"] == ("172800" if name in HEAVY else "10800"), name
        assert all(s["optional"] for s in found["secretAsEnv"]), name
        assert found["podMetadata"]["labels"]["app.kubernetes.io/part-of"] == "grpo-pipeline", name
        assert found["fieldPathAsEnv"][0]["name"] == "GRPO_RUN_ID", name
        assert {"mountPath": "/cache", "constant": "grpo-cache"}.items() <= found["pvcMount"][0].items(), name
        assert {"name": "HF_HOME", "value": "/cache/huggingface"} in containers[name]["env"], name


def test_only_heavy_steps_ask_for_a_gpu(tmp_path):
    containers, settings, _ = compiled(tmp_path, node_selector="gpu=big,disk=ssd", gpu_uuid="GPU-1", gpus="2")
    for name, container in containers.items():
        heavy = name in HEAVY
        accelerator = container["resources"].get("accelerator", {})
        assert (accelerator.get("resourceCount") == "2") == heavy, name
        assert ("nodeSelector" in settings[name]) == heavy and ("emptyDirMounts" in settings[name]) == heavy, name
        assert ({"name": "NVIDIA_VISIBLE_DEVICES", "value": "GPU-1"} in container["env"]) == heavy, name
    # Preflight deletes old checkpoints, so it sees them too.
    with_checkpoints = {n for n, s in settings.items() if "/checkpoints" in [m["mountPath"] for m in s["pvcMount"]]}
    assert with_checkpoints == HEAVY | {"exec-preflight"}
    sft = settings["exec-sft"]
    assert sft["nodeSelector"]["labels"] == {"gpu": "big", "disk": "ssd"}
    assert sft["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert sft["emptyDirMounts"][0] == {
        "volumeName": "shm", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "2048Mi",
    }  # fmt: skip
    assert [mount["mountPath"] for mount in sft["pvcMount"]] == ["/cache", "/checkpoints"]


def test_requests_suit_a_host_of_16_gib(tmp_path):
    containers, _, _ = compiled(tmp_path)
    sft, gate = containers["exec-sft"]["resources"], containers["exec-gate"]["resources"]
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in containers["exec-sft"]["env"]
    assert sft["resourceCpuRequest"] == "2000m" and sft["resourceMemoryRequest"] == "8192Mi"
    assert sft["resourceMemoryLimit"] == "13312Mi" and "resourceMemoryLimit" not in gate
    assert gate["resourceCpuRequest"] == "100m" and gate["resourceMemoryRequest"] == "512Mi"


HUB, CURVES, MODELS = {"HF_TOKEN"}, {"WANDB_API_KEY", "TRACKIO_SPACE_ID"}, {"MODEL_REGISTRY_TOKEN"}
SECRETS = {
    "preflight": HUB | MODELS | {"NOTIFY_WEBHOOK"}, "notify": {"NOTIFY_WEBHOOK"}, "standardize": HUB,
    "sft": HUB | CURVES, "grpo": HUB | CURVES, "evaluate": HUB, "evaluate-2": HUB, "evaluate-3": HUB,
    "push": HUB | MODELS, "gate": set(), "compare": set(),
}  # fmt: skip


def test_each_step_gets_the_secrets_that_it_uses_and_no_other(tmp_path):
    _, settings, _ = compiled(tmp_path)
    found = {
        name.removeprefix("exec-"): {
            key["envVar"] for secret in step["secretAsEnv"] for key in secret["keyToEnv"]
            if secret["secretName"] == "grpo-pipeline"
        }
        for name, step in settings.items()
    }  # fmt: skip
    assert found == SECRETS
    assert all("mlpipeline-minio-artifact" in str(step["secretAsEnv"]) for step in settings.values())


@pytest.mark.parametrize(("step", "heavy"), [("exec-sft", True), ("exec-gate", False)])
def test_a_probe_of_doctor_takes_what_the_step_takes(tmp_path, step, heavy):
    containers, _, _ = compiled(tmp_path)
    step = containers[step]["resources"]
    found = probe_pod(recipes.QWEN.cluster, images.data(), heavy)["spec"]["containers"][0]["resources"]
    assert found["requests"] == {"cpu": step["resourceCpuRequest"], "memory": step["resourceMemoryRequest"]}
    limits = {"nvidia.com/gpu": "1", "memory": step["resourceMemoryLimit"]} if heavy else {}
    assert found["limits"] == limits


def test_a_run_has_the_time_of_all_its_steps_and_the_workflow_is_kept_for_a_week(tmp_path):
    changes = {"stages": "grpo", "sample_problems": "4"}
    _, _, kubernetes = compiled(tmp_path, recipes.override(recipes.QWEN, changes))
    steps = [step for name, step in kubernetes["deploymentSpec"]["executors"].items() if name != "exec-notify"]
    assert {step["podMetadata"]["annotations"]["grpo-pipeline/start-timeout-s"] for step in steps} == {"1800"}
    whole = sum(int(step["activeDeadlineSeconds"]) + 1800 for step in steps)
    assert kubernetes["pipelineConfig"] == {
        "activeDeadlineSeconds": whole, "resourceTtlOnCompletion": 7 * 86_400,
    }  # fmt: skip


def test_training_keeps_checkpoints_on_their_claim_unless_told_otherwise():
    assert for_cluster(recipes.QWEN).checkpoints == "/checkpoints"
    assert for_cluster(recipes.override(recipes.QWEN, {"cluster_checkpoints_claim": ""})).checkpoints == ""
    assert for_cluster(recipes.override(recipes.QWEN, {"checkpoints": "/cache/mine"})).checkpoints == "/cache/mine"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale_processes": "4"}, "scale_processes is 4, but a step requests cluster_gpus=1; set cluster_gpus=4"),
        (
            {"scale_processes": "2", "cluster_gpus": "2", "cluster_gpu_uuid": "GPU-1"},
            "cluster_gpu_uuid shows a Pod one",
        ),
        ({"trainer": "trainjob", "cluster_checkpoints_claim": ""}, "its Pods share no checkpoints; name a claim"),
        ({"trainer": "trainjob", "checkpoints": "/mine"}, "checkpoints='/mine': its Pods share no checkpoints"),
    ],
)
def test_what_would_fail_at_training_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        for_cluster(recipes.override(recipes.QWEN, changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"scale_processes": "4", "cluster_gpus": "4"},
        {"scale_processes": "4", "cluster_gpus": "0"},
        {"cluster_gpus": "4", "cluster_gpu_uuid": "GPU-1"},  # which keeps a node with unlike GPUs for one step
        {"scale_processes": "4", "trainer": "trainjob", "checkpoints": "/checkpoints/mine"},
    ],
)
def test_what_can_train_is_not_refused(changes):
    assert for_cluster(recipes.override(recipes.QWEN, changes)).checkpoints.startswith("/checkpoints")


def test_steps_that_launch_a_trainjob_hold_no_gpu_and_share_its_checkpoints(tmp_path):
    containers, settings, _ = compiled(tmp_path, recipes.override(recipes.TINY, {"trainer": "trainjob"}), gpus="1")
    cluster = recipes.override(recipes.TINY, {"cluster_gpus": "1"}).cluster
    tasks = tasks_of(tmp_path / "pipeline.yaml")
    for name in ("sft", "grpo"):
        container, found = containers[f"exec-{name}"], settings[f"exec-{name}"]
        assert container["image"] == images.data() and "accelerator" not in container["resources"], name
        assert [mount["mountPath"] for mount in found["pvcMount"]] == ["/cache", "/checkpoints"], name
        assert found["activeDeadlineSeconds"] == str(cluster.train_timeout_s), name
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert images.choice().items() <= environment.items(), name
        given = tasks[name]["inputs"]["parameters"]["trainjob"]["runtimeValue"]["constant"]
        assert from_json(Cluster, given) == cluster, name
        assert tasks[name]["retryPolicy"]["maxRetryCount"] == cluster.retries, name
    assert containers["exec-evaluate"]["image"] == images.trainer()
    assert {name for name, task in tasks.items() if "retryPolicy" in task} == {
        "sft", "grpo", "evaluate", "evaluate-2", "evaluate-3",
    }  # fmt: skip


def tasks_of(path):
    """Every task of a compiled pipeline by its name."""
    spec = next(yaml.safe_load_all(path.read_text()))
    dags = [part["dag"] for part in spec["components"].values() if "dag" in part]
    return {name: task for dag in dags for name, task in dag["tasks"].items()}


def test_nothing_of_it_is_put_onto_a_local_run(tmp_path):
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline.build(recipes.QWEN, "r1"), str(path))
    assert len(list(yaml.safe_load_all(path.read_text()))) == 1


def test_the_run_id_is_no_argument_of_a_cached_step(tmp_path):
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline.build(recipes.TINY), str(path))
    for task in (t for t in tasks_of(path).values() if "run_id" in t["inputs"].get("parameters", {})):
        cached = task["cachingOptions"].get("enableCache", False)
        constant = task["inputs"]["parameters"]["run_id"]["runtimeValue"]["constant"]
        assert cached == (constant == ""), task["taskInfo"]["name"]


@pytest.mark.parametrize("claim", ["cache", "checkpoints"])
def test_a_claim_can_be_left_out(tmp_path, claim):
    _, settings, _ = compiled(tmp_path, **{f"{claim}_claim": ""})
    assert f"/{claim}" not in str(settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", {"key": "a", "operator": "Exists"}),
        ("a=b", {"key": "a", "operator": "Equal", "value": "b"}),
        ("a=b:NoExecute", {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"}),
    ],
)
def test_tolerations(text, expected):
    assert toleration(text) == expected


@pytest.mark.parametrize("text", ["", "=b", "a=", "a:", "a:NoSuch"])
def test_bad_tolerations_are_refused(text):
    with pytest.raises(ValueError, match="cluster_tolerations"):
        toleration(text)


@pytest.mark.parametrize("text", ["", "a", "=b"])
def test_bad_selectors_are_refused(text):
    with pytest.raises(ValueError, match="cluster_node_selector"):
        node_label(text)
