"""Runs of the tiny recipe on a cluster with Kubeflow Pipelines: submitted, scheduled, by the stock command line."""

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components import images
from components.cluster import schedule
from components.cluster.api import connect
from components.placement import USER
from components.recipes import TINY
from tests.cluster.conftest import ROOT, kubectl, objects
from tests.pipeline.test_end_to_end import SMALL

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3000)]
NAMESPACE = "kubeflow"
RUN_S = 1500
CHANGES = {**SMALL, "gate_force": "true", "cluster_gpus": "1", "cluster_node_selector": "kubernetes.io/os=linux",
           "cluster_tolerations": "nvidia.com/gpu:NoSchedule", "cluster_memory_limit_gib": "6"}  # fmt: skip


@pytest.fixture(scope="module")
def registry(endpoint):
    """A prefix of its own in KFP's bucket."""
    return f"s3://mlpipeline/test-{time.strftime('%H%M%S')}"


def verb(*arguments, registry=None, check=True):
    """One verb of pipeline.py with the small tiny recipe."""
    sets = [f"--set={name}={value}" for name, value in CHANGES.items()] if registry else []
    sets += [f"--set=registry={registry}"] if registry else []
    done = subprocess.run(
        [sys.executable, "pipeline.py", *arguments, *sets],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def steps(run_id):
    """The Pods of a run's steps by the name of the step's function, in the order in which they were made."""
    found = {}
    for pod in sorted(
        objects("pods", NAMESPACE, "-l", f"pipeline/runid={run_id}"), key=lambda p: p["metadata"]["creationTimestamp"]
    ):
        main = next(c for c in pod["spec"]["containers"] if c["name"] == "main")
        words = [*main.get("command", []), *main.get("args", [])]
        if "--function_to_execute" in words:
            found.setdefault(words[words.index("--function_to_execute") + 1], []).append(pod)
    return found


def nodes(workflow):
    """Argo's nodes of a workflow, which it packs when they grow."""
    packed = workflow["status"].get("compressedNodes")
    return json.loads(gzip.decompress(base64.b64decode(packed))) if packed else workflow["status"].get("nodes", {})


def argo_saw_it_run(pod):
    """Whether Argo knows that a Pod runs; one that it takes for pending is made anew without counting as an attempt."""
    about = pod["metadata"]
    name = about["labels"]["workflows.argoproj.io/workflow"]
    workflow = json.loads(kubectl("-n", NAMESPACE, "get", "workflow", name, "-o", "json"))
    return nodes(workflow).get(about["annotations"]["workflows.argoproj.io/node-id"], {}).get("phase") == "Running"


def attempts(run_id):
    """Argo's phases of all attempts of a run whose Pod was deleted."""
    workflow = objects("workflows", NAMESPACE, "-l", f"pipeline/runid={run_id}")[0]
    return [n["phase"] for n in nodes(workflow).values() if n["type"] == "Pod" and "deleted" in n.get("message", "")]


def ended(client, run_id):
    """The state in which a run ends."""
    return client.wait_for_run_completion(run_id, timeout=RUN_S).state


@pytest.fixture(scope="module")
def run_id(endpoint, registry):
    """A submitted run whose SFT Pod is deleted while it works; it must end well all the same."""
    command = [sys.executable, "pipeline.py", "submit", "--wait"]
    command += [f"--set={name}={value}" for name, value in {**CHANGES, "registry": registry}.items()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as submitted:
        assert submitted.stdout is not None
        name = re.fullmatch(r"run .+: ([0-9a-f-]{36})\n", submitted.stdout.readline())
        assert name and submitted.stdout.readline() == f"page: {endpoint}/#/runs/details/{name[1]}\n"
        deadline = time.monotonic() + RUN_S
        while not (found := [pod for pod in steps(name[1]).get("sft", []) if argo_saw_it_run(pod)]):
            assert time.monotonic() < deadline and submitted.poll() is None, "SFT never ran"
            time.sleep(2)
        kubectl("-n", NAMESPACE, "delete", "pod", found[0]["metadata"]["name"], "--wait=false")
        rest = submitted.stdout.read()
        assert submitted.wait() == 0, rest
        print(rest)
    return name[1]


def test_a_submitted_run_ends_well_although_a_pod_was_deleted(run_id, registry):
    from components.store import open_store

    assert attempts(run_id) == ["Error"]
    if "S3_ENDPOINT" not in os.environ:
        pytest.skip("needs S3_ENDPOINT, the bucket as this machine sees it: the registry is not read")
    store = open_store(registry)
    outcome = store.read_json(f"runs/{run_id}/outcome.json")
    assert outcome["ending"] == "promoted" and outcome["failed_step"] is None
    champion = store.read_json("champion.json")
    assert champion["run_id"] == run_id and store.read_json(f"models/{champion['version']}/manifest.json")
    assert set(outcome["seconds"]) >= {"preflight", "standardize", "sft", "grpo", "evaluate-base", "gate", "push"}


def test_every_steps_pod_is_as_asked(run_id):
    found = {name: pods[-1] for name, pods in steps(run_id).items()}
    assert set(found) == {
        "preflight", "standardize", "evaluate", "sft", "grpo", "compare", "gate", "push", "notify",
    }  # fmt: skip
    for name, pod in found.items():
        heavy = name in ("sft", "grpo", "evaluate")
        main = next(c for c in pod["spec"]["containers"] if c["name"] == "main")
        assert main["image"] == (images.TRAINER if heavy else images.DATA), name
        check_container(name, main, heavy)
        check_place(name, pod["spec"], heavy)
        assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "grpo-pipeline", name


def check_container(name, main, heavy):
    """Requests, limits, secrets, user, mounts of one step's container."""
    cluster = TINY.cluster
    requests, limits = main["resources"]["requests"], main["resources"].get("limits", {})
    assert requests["cpu"] == ("250m" if heavy else "100m") and requests["memory"] == ("2Gi" if heavy else "512Mi"), (
        name
    )
    assert (limits.get("nvidia.com/gpu") == "1") == heavy and (limits.get("memory") == "6Gi") == heavy, name
    secrets = {
        e["name"]: e["valueFrom"]["secretKeyRef"] for e in main["env"] if "secretKeyRef" in e.get("valueFrom", {})
    }
    assert secrets["HF_TOKEN"]["name"] == cluster.secret and secrets["HF_TOKEN"]["optional"], name
    assert secrets["AWS_SECRET_ACCESS_KEY"]["name"] == cluster.s3_secret, name
    context = main["securityContext"]
    assert context["runAsUser"] == context["runAsGroup"] == USER and context["runAsNonRoot"], name
    assert context["allowPrivilegeEscalation"] is False and context["capabilities"]["drop"] == ["ALL"], name
    paths = {mount["mountPath"] for mount in main["volumeMounts"]}
    assert "/cache" in paths and ({"/checkpoints", "/dev/shm"} <= paths) == heavy, name


def check_place(name, spec, heavy):
    """Deadline, selector, toleration, claims and shared memory of one step's Pod."""
    cluster = TINY.cluster
    assert spec["activeDeadlineSeconds"] == (cluster.train_timeout_s if heavy else cluster.data_timeout_s), name
    assert (spec.get("nodeSelector") == {"kubernetes.io/os": "linux"}) == heavy, name
    tolerated = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert tolerated == heavy, name
    claims = {v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
    assert claims == ({cluster.cache_claim, cluster.checkpoints_claim} if heavy else {cluster.cache_claim}), name
    memory = [v["emptyDir"] for v in spec["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory"]
    assert memory == ([{"medium": "Memory", "sizeLimit": "256Mi"}] if heavy else []), name


def test_argo_keeps_the_workflow_for_a_week(run_id):
    workflow = objects("workflows", NAMESPACE, "-l", f"pipeline/runid={run_id}")[0]
    assert workflow["spec"]["ttlStrategy"]["secondsAfterCompletion"] == TINY.cluster.keep_s


def test_the_stock_command_line_takes_the_yaml(run_id, endpoint, registry, tmp_path):
    """Nothing has changed since the first run, so this one ends after preflight."""
    path = tmp_path / "pipeline.yaml"
    verb("compile", "--output", str(path), registry=registry)
    kfp = str(Path(sys.executable).with_name("kfp"))
    command = [kfp, "--endpoint", endpoint, "--output", "json", "run", "create", "-e", "stock", "-r", "stock"]
    values = ["seed=0", "grpo_learning_rate=1e-4", "gate_force=true", f"registry={registry}"]
    done = subprocess.run([*command, "-f", str(path), *values], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout[done.stdout.index("{") :])
    client = connect(endpoint, NAMESPACE)
    assert ended(client, made["run_id"]) == "SUCCEEDED"
    assert set(steps(made["run_id"])) == {"preflight", "notify"}


def test_the_account_of_the_overlay_kubeflow_has_the_rights_that_a_run_needs(run_id, endpoint, registry):
    account = str(ROOT / "manifests" / "overlays" / "kubeflow" / "account.yaml")
    kubectl("-n", NAMESPACE, "apply", "-f", account)
    try:
        printed = verb("submit", "--wait", "--service-account", "grpo-pipeline", registry=registry)
        made = re.search(r"run .+: ([0-9a-f-]{36})\n", printed)
        assert made
        pods = [pod for found in steps(made[1]).values() for pod in found]
        assert {pod["spec"]["serviceAccountName"] for pod in pods} == {"grpo-pipeline"}
    finally:
        kubectl("-n", NAMESPACE, "delete", "-f", account)


def test_a_schedule_fires_pauses_is_replaced_and_goes(run_id, endpoint, registry):
    client = connect(endpoint, NAMESPACE)
    name = f"test-{os.getpid()}"
    printed = verb("schedule", "create", name, "--cron", "0 * * * * *", registry=registry)
    assert printed.count("next:") == 3 and "UTC" in printed
    try:
        first = next(job for job in schedule.jobs(client, NAMESPACE) if job.display_name == name)
        assert first.max_concurrency == "1" and first.no_catchup and first.trigger.cron_schedule.cron == "0 * * * * *"
        fired = wait_for_run(client, first.recurring_run_id)
        verb("schedule", "pause", name)
        assert f"{name}: 0 * * * * *, paused" in verb("schedule", "list")
        assert ended(client, fired) == "SUCCEEDED"
        printed = verb("schedule", "create", name, "--cron", "0 3 * * 0", registry=registry)
        assert "in place of the one before" in printed
        left = [job for job in schedule.jobs(client, NAMESPACE) if job.display_name == name]
        assert [job.trigger.cron_schedule.cron for job in left] == ["0 0 3 * * 0"]
    finally:
        verb("schedule", "delete", name)
    assert name not in verb("schedule", "list")


def wait_for_run(client, recurring_run_id):
    """The id of the first run that a schedule makes."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        runs = client.list_runs(page_size=20, sort_by="created_at desc", namespace=NAMESPACE).runs or []
        if found := [run.run_id for run in runs if run.recurring_run_id == recurring_run_id]:
            return found[0]
        time.sleep(3)
    raise AssertionError("the schedule did not fire within three minutes")


def test_a_second_run_reuses_what_has_not_changed(run_id, endpoint, registry):
    """`always` makes preflight go on; data, training and evaluation come from KFP's cache."""
    printed = verb("submit", "--wait", "--set=always=true", registry=registry)
    second = re.search(r"run .+: ([0-9a-f-]{36})\n", printed)
    assert second and "succeeded" in printed
    assert set(steps(second[1])) == {"preflight", "compare", "gate", "push", "notify"}
