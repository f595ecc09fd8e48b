"""Runs of the tiny recipe on a cluster with Kubeflow Pipelines: submitted, scheduled, by the stock command line."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.lib.cluster import images, schedule
from components.lib.cluster.api import connect
from components.lib.cluster.step_pod import STEP_SECRETS, USER
from components.lib.cluster.verbs import ACCOUNT
from components.lib.recipe.recipes import TINY
from components.lib.registry.champion import read_champion
from components.lib.registry.store import open_store
from tests import ROOT
from tests.cluster.conftest import kubectl, objects
from tests.cluster.runs import (
    CHANGES,
    NAMESPACE,
    delete,
    drain,
    ended,
    log_of,
    lost_attempts,
    number_after,
    steps,
    submitted,
)
from tests.fixtures.relay import Relay

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def registry(endpoint):
    """A prefix of its own in KFP's bucket."""
    if "S3_ENDPOINT" not in os.environ:
        pytest.skip("needs S3_ENDPOINT, the bucket as this machine sees it: no run is started on a cluster")
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
    return done.stdout if check else done


@pytest.fixture(scope="module")
def run_id(endpoint, registry):
    """A submitted run whose SFT Pod is deleted, whose GRPO Pod too, and whose node is then drained under GRPO."""
    with submitted({**CHANGES, "registry": registry}) as run:
        delete(run.pod_of("sft"))
        first = run.pod_of("grpo", says="saved step")
        saved = number_after("saved step", log_of(first))
        delete(first)
        second = run.pod_of("grpo", says="going on from step")
        resumed, saved_again = (number_after(words, log_of(second)) for words in ("going on from step", "saved step"))
        drain(second)
        assert run.end() == 0, run.printed
    third = log_of(steps(run.id)["grpo"][-1])
    assert 0 < saved <= resumed <= number_after("going on from step", third) < 60, third[-3000:]
    assert saved_again <= number_after("going on from step", third), "less than one interval was lost"
    assert run.printed.startswith(f"page: {endpoint}/#/runs/details/{run.id}\n")
    assert run.printed.splitlines()[-1] == f"record: {registry}/runs/{run.id}/outcome.json"
    print(run.printed)
    return run.id


def test_a_submitted_run_ends_well_although_it_lost_three_pods(run_id, registry):
    lost = lost_attempts(run_id)
    assert len(lost) >= 3 and {phase for phase, _ in lost} == {"Error"}
    store = open_store(registry)
    outcome = store.read_json(f"runs/{run_id}/outcome.json")
    assert outcome["ending"] == "promoted" and outcome["failed_step"] is None
    champion = read_champion(store)
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
        assert main["image"] == (images.trainer() if heavy else images.data()), name
        check_container(name, main, heavy)
        check_place(name, pod["spec"], heavy)
        assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "grpo-pipeline", name
        assert ("retry-system-container" in pod["metadata"]["name"]) == heavy, name  # Argo's template with set_retry


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
    of_ours = {variable for variable, source in secrets.items() if source["name"] == cluster.secret}
    assert of_ours == set(STEP_SECRETS.get(name, ())) and all(source["optional"] for source in secrets.values()), name
    assert secrets["AWS_SECRET_ACCESS_KEY"]["name"] == cluster.s3_secret, name
    visible = [e["value"] for e in main["env"] if e["name"] == "NVIDIA_VISIBLE_DEVICES"]
    assert visible == (["GPU-of-the-test"] if heavy else []), name
    context = main["securityContext"]
    assert context["runAsUser"] == context["runAsGroup"] == USER and context["runAsNonRoot"], name
    assert context["allowPrivilegeEscalation"] is False and context["capabilities"]["drop"] == ["ALL"], name
    paths = {mount["mountPath"] for mount in main["volumeMounts"]}
    assert "/cache" in paths and ("/dev/shm" in paths) == heavy, name
    assert ("/checkpoints" in paths) == (heavy or name == "preflight"), name  # preflight deletes old ones


def check_place(name, spec, heavy):
    """Deadline, selector, toleration, claims and shared memory of one step's Pod."""
    cluster = TINY.cluster
    assert spec["activeDeadlineSeconds"] == (cluster.train_timeout_s if heavy else cluster.data_timeout_s), name
    assert (spec.get("nodeSelector") == {"kubernetes.io/os": "linux"}) == heavy, name
    tolerated = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert tolerated == heavy, name
    claims = {v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
    keeps = heavy or name == "preflight"
    assert claims == {cluster.cache_claim} | ({cluster.checkpoints_claim} if keeps else set()), name
    memory = [v["emptyDir"] for v in spec["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory"]
    assert memory == ([{"medium": "Memory", "sizeLimit": "256Mi"}] if heavy else []), name


def test_every_steps_pod_is_admitted_under_pod_security_restricted(run_id, namespace):
    for name, pods in steps(run_id).items():
        spec = {key: value for key, value in pods[-1]["spec"].items() if key not in ("nodeName", "priority")}
        spec |= {"serviceAccountName": "default", "serviceAccount": "default"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
        kubectl("apply", "--dry-run=server", "-f", "-", given=json.dumps(pod))


def test_argo_keeps_the_workflow_for_a_week(run_id):
    workflow = objects("workflows", NAMESPACE, "-l", f"pipeline/runid={run_id}")[0]
    assert workflow["spec"]["ttlStrategy"]["secondsAfterCompletion"] == TINY.cluster.keep_s


@pytest.fixture(scope="module")
def compiled(registry, tmp_path_factory):
    """The pipeline as a file."""
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    verb("compile", "--output", str(path), registry=registry)
    return str(path)


def kfp(endpoint, *arguments, given=None):
    """What the stock command line answers."""
    command = [str(Path(sys.executable).with_name("kfp")), "--endpoint", endpoint, "--output", "json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, input=given)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout[min(done.stdout.index(bracket) for bracket in "[{" if bracket in done.stdout) :])


@pytest.fixture(scope="module")
def stock(run_id, endpoint, registry, compiled):
    """A run of the stock command line. Nothing has changed since the first run, so it ends after preflight."""
    values = ["seed=0", "grpo_learning_rate=1e-4", "gate_force=true", f"registry={registry}"]
    return kfp(endpoint, "run", "create", "-e", "stock", "-r", "stock", "-f", compiled, *values)["run_id"]


def test_the_stock_command_line_takes_the_yaml(stock, endpoint):
    assert ended(connect(endpoint, NAMESPACE), stock) == "SUCCEEDED"
    assert set(steps(stock)) == {"preflight", "notify"}


def test_a_run_that_finds_nothing_changed_says_so_within_two_minutes(stock, endpoint, registry):
    client = connect(endpoint, NAMESPACE)
    ended(client, stock)
    assert open_store(registry).read_json(f"runs/{stock}/outcome.json")["ending"] == "no-change"
    found = client.get_run(stock)
    assert (found.finished_at - found.created_at).total_seconds() < 120


def test_the_stock_command_line_schedules_the_yaml(run_id, endpoint, compiled):
    name = f"stock-{os.getpid()}"
    pipeline = kfp(endpoint, "pipeline", "create", "-p", name, compiled)["pipeline_id"]
    version = kfp(endpoint, "pipeline", "list-versions", pipeline)[0]["pipeline_version_id"]
    made = kfp(
        endpoint, "recurring-run", "create", "--experiment-name", "stock", "--job-name", name, "--cron-expression",
        "0 * * * * *", "--no-catchup", "--max-concurrency", "1", "--enabled", "--pipeline-id", pipeline,
        "--version-id", version,
    )  # fmt: skip
    client = connect(endpoint, NAMESPACE)
    try:
        fired = wait_for_run(client, made["recurring_run_id"])
        verb("schedule", "pause", name)
        assert ended(client, fired) == "SUCCEEDED" and set(steps(fired)) == {"preflight", "notify"}
    finally:
        verb("schedule", "delete", name, "--force")


def test_every_pod_of_a_run_has_the_account_of_the_least_rights(run_id):
    assert {pod["spec"]["serviceAccountName"] for pods in steps(run_id).values() for pod in pods} == {ACCOUNT}


def test_a_run_that_fails_says_where_and_why_although_the_connection_broke(endpoint, registry):
    sources = '[{"path": "s3://mlpipeline/there-is-none.jsonl", "adapter": "gsm8k"}]'
    with Relay(endpoint) as relay:
        changes = {**CHANGES, "registry": registry, "sources": sources}
        with submitted(changes, environment={"KF_PIPELINES_ENDPOINT": relay.url}) as run:
            run.pod_of("preflight", running=False)
            relay.cut(seconds=12)
            assert run.end() == 1
    said = run.printed.splitlines()
    assert "Kubeflow Pipelines does not answer; asking again for 600 s" in said
    assert re.fullmatch(r"failed: preflight failed: ValueError: s3://mlpipeline/there-is-none.jsonl .+", said[-2])
    assert said[-1] == f"record: {registry}/runs/{run.id}/outcome.json" and "Traceback" not in said[0]


def test_ctrl_c_ends_the_watching_and_not_the_run(endpoint, registry):
    with submitted({**CHANGES, "registry": registry}) as run:
        run.pod_of("preflight", running=False)
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 130 and run.printed.endswith(f"\nrun {run.id} goes on, unwatched\n")
    client = connect(endpoint, NAMESPACE)
    assert client.get_run(run.id).state in ("PENDING", "RUNNING")
    client.terminate_run(run.id)


def test_a_run_whose_step_was_killed_names_the_step(endpoint, registry):
    # What a limit leaves room for, it may also fight for, page by page: the deadline ends that.
    small = {
        "cluster_train_memory_gib": "0.2", "cluster_memory_limit_gib": "0.5", "cluster_train_timeout_s": "400",
        "training_restarts": "0",
    }  # fmt: skip
    with submitted({**CHANGES, **small, "registry": registry, "seed": "7"}) as run:
        assert run.end() == 1
    assert re.fullmatch(r"failed: (sft|evaluate-base) .*(killed|memory).*", run.printed.splitlines()[-2]), run.printed


def test_a_schedule_fires_pauses_resumes_is_replaced_and_goes(run_id, endpoint, registry):
    client = connect(endpoint, NAMESPACE)
    name = f"test-{os.getpid()}"
    done = verb("schedule", "create", name, "--cron", "0 75 * * * *", registry=registry, check=False)
    assert done.returncode == 2 and "not a supported format" in done.stderr and done.stderr.count("\n") == 1
    verb("schedule", "create", name, "--cron", "0 * * * * *", registry=registry)
    try:
        first = next(job for job in schedule.jobs(client, NAMESPACE) if job.display_name == name)
        assert first.max_concurrency == "1" and first.no_catchup and first.trigger.cron_schedule.cron == "0 * * * * *"
        fired = wait_for_run(client, first.recurring_run_id)
        verb("schedule", "pause", name)
        paused = time.monotonic()
        assert f"{name}: 0 * * * * *, paused\n" in verb("schedule", "list")
        assert ended(client, fired) == "SUCCEEDED"
        time.sleep(max(0.0, paused + 80 - time.monotonic()))  # it would have fired again
        before = runs_of(client, first.recurring_run_id)
        verb("schedule", "resume", name)
        assert f"{name}: 0 * * * * *, on\n" in verb("schedule", "list")
        again = wait_for_run(client, first.recurring_run_id, before)
        assert before == [fired] and again != fired
        for refused in (("create", name, "--cron", "0 3 * * 0"), ("delete", name)):
            done = verb("schedule", *refused, registry=registry, check=False)
            assert done.returncode == 2 and f"run {again} of schedule {name} is working" in done.stderr
        verb("schedule", "pause", name)
        assert ended(client, again) == "SUCCEEDED"
        printed = verb("schedule", "create", name, "--cron", "0 3 * * 0", registry=registry)
        assert "in place of the one before" in printed
        left = [job for job in schedule.jobs(client, NAMESPACE) if job.display_name == name]
        assert [job.trigger.cron_schedule.cron for job in left] == ["0 0 3 * * 0"]
    finally:
        verb("schedule", "delete", name, "--force")
    assert name not in verb("schedule", "list")


def runs_of(client, recurring_run_id):
    """The ids of the runs that a schedule has made."""
    runs = client.list_runs(page_size=50, sort_by="created_at desc", namespace=NAMESPACE).runs or []
    return [run.run_id for run in runs if run.recurring_run_id == recurring_run_id]


def wait_for_run(client, recurring_run_id, known=()):
    """The id of the next run that a schedule makes."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if new := [run for run in runs_of(client, recurring_run_id) if run not in known]:
            return new[0]
        time.sleep(3)
    raise AssertionError("the schedule did not fire within three minutes")


def test_a_second_run_reuses_what_has_not_changed(run_id, endpoint, registry):
    """`always` makes preflight go on; data, training and evaluation but the candidate's come from KFP's cache."""
    printed = verb("submit", "--wait", "--set=always=true", registry=registry)
    second = re.search(r"run .+: ([0-9a-f-]{36})\n", printed)
    assert second and "succeeded" in printed
    found = steps(second[1])
    assert set(found) == {"preflight", "evaluate", "compare", "gate", "push", "notify"}
    assert len(found["evaluate"]) == 1, "the candidate is held against a champion that there was not before"
