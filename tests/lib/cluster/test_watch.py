"""What `submit --wait` and `follow` make of a run: the names and states of its steps, and how it ended."""

import itertools
import json
from types import SimpleNamespace

import kfp_server_api
import pytest
import yaml
from kfp import compiler

import pipeline
from components.lib.cluster import watch
from components.lib.cluster.starting import Waiting
from components.lib.cluster.verdict import verdict
from components.lib.inside import ENDED_BY
from components.lib.recipe import recipes
from components.lib.registry import lock
from components.lib.registry.investigate import of_driver
from components.lib.registry.outcome import read_outcomes, write_outcome
from components.lib.registry.store import open_store
from tests.fixtures.kube_server import RUN
from tests.fixtures.outcomes import outcome
from tests.fixtures.raw_server import raw_server

LATE = Waiting(RUN, "pod", "sft", "ImagePullBackOff: no such tag", seconds=700.0, timeout_s=600)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compiler.Compiler().compile(pipeline.build(recipes.TINY), str(path))
    return next(yaml.safe_load_all(path.read_text()))


def task(name, state=None, time=0, pod=None):
    return SimpleNamespace(display_name=name, state=state, create_time=time, pod_name=pod)


def run(*tasks, state="FAILED", **more):
    details = SimpleNamespace(task_details=list(tasks))
    about = {"pipeline_spec": None, "pipeline_version_reference": None, "runtime_config": None, **more}
    return SimpleNamespace(run_id=RUN, state=state, run_details=details, **about)


def test_steps_are_called_as_on_the_page_and_groups_are_none(spec):
    names = watch.step_names(spec)
    assert names["evaluate-2"] == "Evaluate SFT" and names["preflight"] == "Preflight" and names["push"] == "Push"
    assert len(names) == 11 and not any("condition" in name or "exit-handler" in name for name in names)


def test_kfps_own_tasks_are_left_out(spec):
    tasks = [
        task(name, state, time)
        for name, state, time in (
            ("gate", "RUNNING", 2), ("gate-driver", "SUCCEEDED", 1), ("root", "RUNNING", 0), ("sft(0)", "RUNNING", 0),
            ("executor", "RUNNING", 0), ("condition-2", "RUNNING", 0), ("sft", None, 1), (None, None, 0),
        )
    ]  # fmt: skip
    names = watch.step_names(spec)
    assert list(watch.step_states(run(*tasks), names).items()) == [("SFT", "PENDING"), ("Gate", "RUNNING")]
    assert watch.step_states(SimpleNamespace(run_details=None), names) == {}


@pytest.mark.parametrize("uploaded", [False, True])
def test_a_run_of_another_shell_is_known_by_its_own_pipeline(spec, uploaded):
    whole = {"pipeline_spec": spec, "platform_spec": {}}
    client = SimpleNamespace(get_pipeline_version=lambda *ids: SimpleNamespace(pipeline_spec=whole))
    reference = SimpleNamespace(pipeline_id="p", pipeline_version_id="v")
    found = run(**{"pipeline_version_reference": reference} if uploaded else {"pipeline_spec": whole})
    assert watch.spec_of(client, found) == spec and watch.registry_of(found, spec) == ""
    found.runtime_config = SimpleNamespace(parameters={"registry": "s3://b/p"})
    assert watch.registry_of(found, spec) == "s3://b/p"


def test_the_verdict_comes_last_after_the_log_and_is_the_records(tmp_path):
    log = [f"line {number}" for number in range(40)]
    store = open_store(str(tmp_path))
    write_outcome(store, outcome(RUN, ending="failed", sentence="sft failed: ValueError: no rows", log=log))
    record = f"record: {tmp_path}/runs/{RUN}/outcome.json"
    lines, well = verdict("", run(), str(tmp_path), ["SFT"], None)
    assert lines[0] == "    line 20" and not well
    assert lines[-3:] == ["    line 39", "failed: sft failed: ValueError: no rows", record]
    told = "version v is the champion, although push failed: no network"
    write_outcome(store, outcome(RUN, ending="promoted", sentence=told))
    lines, well = verdict("", run(), str(tmp_path), ["Push"], None)
    assert well and lines == [f"promoted: {told}", record]


@pytest.mark.fault("a run ends without its exit handler, whose Pod could not start")
def test_a_run_without_a_record_gets_one_and_loses_the_lock(tmp_path, monkeypatch, seen):
    monkeypatch.delenv(lock.OWNER_VARIABLE, raising=False)
    store = open_store(str(tmp_path))
    lock.take(store, RUN, 3600)
    lines, well = verdict("", run(), str(tmp_path), ["Preflight"], LATE)
    assert lines[0] == "failed: sft could not start: ImagePullBackOff: no such tag" and not well
    assert read_outcomes(store)[0].failed_step == "sft" and lock.current(store).value["released"]
    seen(lines[0])


NAMES = itertools.count(1)


def node(name, phase, message="", kind="Pod", place=0):
    """A node of Argo's; `place` tells their order."""
    return {
        "id": f"flow-{next(NAMES)}", "type": kind, "phase": phase, "displayName": name, "templateName": "impl",
        "startedAt": f"2026-11-29T16:24:{place:02}Z", "message": message,
    }  # fmt: skip


def workflow(*nodes, **annotations):
    return {
        "metadata": {"name": "flow", "annotations": annotations}, "spec": {},
        "status": {"nodes": {node["id"]: node for node in nodes}},
    }  # fmt: skip


def told(workflow, *logs):
    """KFP's answers: its old interface's about a run with this Workflow, then the logs of Pods, one after another."""
    run = json.dumps({"pipeline_runtime": {"workflow_manifest": json.dumps(workflow)}})
    noise = 'time="2026" level=info msg="capturing logs" argo=true\n'
    for text in (run, *(noise + log for log in logs)):
        body = text.encode()
        yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.fault("Kubernetes makes no Pod of a run, since its service account is missing")
def test_what_kept_every_pod_from_being_made_is_said(tmp_path, seen):
    """As Argo has it of a run on the cluster: attempts of drivers, in a group that gave up."""
    missing = 'pods "x" is forbidden: error looking up service account kubeflow/grpo-pipeline: not found'
    attempts = [node(f"root-driver({number})", "Error", missing) for number in range(3)]
    made = workflow(*attempts, node("root-driver", "Error", "No more retries left", kind="Retry"))
    with raw_server(*told(made)) as (url, received):
        lines, well = verdict(url, run(), str(tmp_path), [], None)
    assert f"GET /apis/v1beta1/runs/{RUN}".encode() in received[0]
    assert not well and lines[0].endswith(missing) and "driver failed" in lines[0]
    seen(lines[0])


def test_an_attempt_of_a_driver_that_a_later_one_made_good_is_no_reason():
    again = [node("sft-driver(0)", "Error", "evicted"), node("sft-driver(1)", "Succeeded")]
    assert of_driver(workflow(*again, node("sft-driver", "Succeeded", kind="Retry"))) is None
    assert of_driver(workflow(*again, node("sft-driver", "Error", kind="Retry"))).step == "sft"
    assert of_driver(None) is None


def test_what_a_driver_could_not_start_first_is_the_reason():
    """As when a driver's Pod is lost: its second attempt may not make the task again, and the exit handler follows."""
    found = of_driver(workflow(
        node("notify-driver(0)", "Failed", "main: Error (exit code 1)", place=9),
        node("evaluate-driver(0)", "Error", "pod deleted", place=1),
        node("evaluate-driver(1)", "Failed", "two tasks have the same task name", place=4),
    ))  # fmt: skip
    assert (found.step, found.why.rpartition(": ")[2]) == ("evaluate", "two tasks have the same task name")


@pytest.fixture
def no_bucket(monkeypatch):
    for name in ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    return "s3://bucket/registry"


def test_without_access_to_the_bucket_the_exit_handlers_log_tells(no_bucket):
    said = f"a line\nrun {RUN}: promoted: version v1 is the champion\nwebhook answered 204\n"
    made = workflow(
        node("executor(0)", "Succeeded", place=1),
        node("executor", "Succeeded", place=2),
        node("gate", "Succeeded", kind="DAG", place=3),
    )
    with raw_server(*told(made, said)) as (url, received):
        lines, well = verdict(url, run(state="SUCCEEDED"), no_bucket, [], None)
    newest = list(made["status"]["nodes"])[1].removeprefix("flow-")
    assert f"GET /apis/v1alpha1/runs/{RUN}/nodes/flow-impl-{newest}/log".encode() in received[1]
    assert well and lines[0] == "promoted: version v1 is the champion"
    assert "s3://bucket/registry cannot be read here: an s3:// address needs S3_ENDPOINT, AWS_ACCESS_KEY_ID" in lines[1]


def test_where_the_exit_handler_said_nothing_the_last_lines_of_the_failed_pod_do(no_bucket):
    """Of a log that there is none of any more, KFP answers 200 and an error."""
    made = workflow(
        node("executor", "Succeeded", place=1), node("executor(0)", "Failed", place=2),
        node("executor", "Failed", kind="Retry", place=3),
    )  # fmt: skip
    none = '{"error_message":"Failed to read logs for run","error_details":"no such Pod\\nat main.go"}'
    with raw_server(*told(made, none, "fine\n", f"Killed\n{none}")) as (url, received):
        lines, well = verdict(url, run(), no_bucket, ["SFT"], None)
    assert len(received) == 4 and not well and lines[:2] == ["    Killed", "failed: SFT"]
    lines, well = verdict("http://127.0.0.1:9", run(), no_bucket, [], None)
    assert not well and lines[0] == "Kubeflow Pipelines calls it failed"


def test_a_run_that_was_ended_since_a_pod_did_not_start_says_which(no_bucket):
    made = workflow(**{ENDED_BY: "preflight: could not start within 60 s: no such claim"})
    with raw_server(*told(made)) as (url, _):
        lines, well = verdict(url, run(), no_bucket, ["Preflight"], None)
    assert not well and lines[0] == "failed: preflight could not start within 60 s: no such claim"


def test_after_the_end_no_step_is_pending(monkeypatch, capsys, spec, tmp_path):
    """A run that failed while GRPO waited."""
    monkeypatch.setattr(watch, "POLL_S", 0)
    monkeypatch.setattr(watch, "kubernetes_client", lambda: SimpleNamespace(CoreV1Api=lambda: None))
    found = Waiting(RUN, "g", "grpo", "Insufficient nvidia.com/gpu", 30.0, 600, "evaluate of run 1")
    monkeypatch.setattr(watch, "waiting", lambda *given: [found])
    write_outcome(open_store(str(tmp_path)), outcome(RUN, ending="failed", sentence="sft failed: no rows"))
    config = SimpleNamespace(parameters={"registry": str(tmp_path)})
    first = run(task("sft", "RUNNING"), state="RUNNING", pipeline_spec=spec, runtime_config=config)
    last = run(task("sft", "FAILED"), task("grpo"), pipeline_spec=spec, runtime_config=config)
    answers = iter([first, last])
    assert watch.watch(SimpleNamespace(get_run=lambda run_id: next(answers)), "", "ns", RUN) == 1
    said = [line.partition("s] ")[2] for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert said == [
        "SFT: running", "grpo: pending: Insufficient nvidia.com/gpu (held by evaluate of run 1)", "SFT: failed",
    ]  # fmt: skip


def test_a_server_that_stays_silent_is_given_up(monkeypatch, capsys):
    monkeypatch.setattr(watch, "SILENT_S", 0.5)
    monkeypatch.setattr(watch, "POLL_S", 0.1)
    configuration = kfp_server_api.Configuration()
    configuration.host, configuration.retries = "http://127.0.0.1:9", 0
    api = kfp_server_api.RunServiceApi(kfp_server_api.ApiClient(configuration))
    client = SimpleNamespace(get_run=lambda run_id: api.run_service_get_run(run_id=run_id))
    with pytest.raises(ValueError, match=f"does not tell how run {RUN} is doing: .*Connection refused"):
        watch.asked(client, RUN)
    assert capsys.readouterr().out.count("asking again") == 1
