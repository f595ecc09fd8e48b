"""What the exit handler finds out about a step that died, by asking the cluster from inside its Pod."""

import json
import os
import shutil
import signal
import time

import pytest

from components.lib import inside, machine
from components.lib.recipe import recipes
from components.lib.recipe.settings import replace
from components.lib.registry import lock
from components.lib.registry.investigate import investigate
from components.lib.registry.outcome import Failure, read_outcomes
from components.lib.registry.record import record_key, recorded
from components.lib.registry.store import open_store
from components.lib.reporting.messages import message
from components.lib.reporting.tell import post
from components.notify.notify import report
from components.preflight.preflight import _own_registry
from tests.fixtures.kube_server import RUN, TOKEN, Cluster, make_certificate, pod, serve, workflow
from tests.fixtures.outcomes import outcome
from tests.fixtures.raw_server import CUT, GARBAGE, raw_server
from tests.notify.test_notify import Webhook

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: no cluster is asked over TLS")
OOM = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
NOISE = (
    "I1124 22:15:31.129561      16 client.go:871] Propagating state update to parent DAG 16\n"
    "F1124 22:15:31.130482      16 main.go:59] failed to execute component: exit status 1\n"
    'time=2026-11-24T22:15:31.286Z level=INFO msg="sub-process exited" argo=true error="exit status 1"\n'
    "Error: exit status 1\n"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def cluster(certificate, tmp_path, monkeypatch):
    """A cluster as the Pod `notify-pod` sees it."""
    cluster = Cluster()
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "namespace").write_text("kubeflow")
    shutil.copy(certificate.with_name("cert.pem"), tmp_path / "ca.crt")
    with serve(cluster, certificate) as port, serve(cluster, None) as pipelines:
        monkeypatch.setattr(inside, "ACCOUNT", tmp_path)
        monkeypatch.setenv("KFP_POD_NAME", "notify-pod")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{pipelines}")
        yield cluster


def test_a_killed_step_gets_its_pods_reason_and_last_lines(cluster, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    cluster.pods = [pod("a", "grpo", state=OOM, phase="Failed"), pod("b", "evaluate", phase="Running", state={})]
    cluster.logs = {"a": f"step 7/60 with hf_secretsecret\n\n{NOISE}"}
    known = Failure(step="grpo", why="died before it could say why (killed ...)", log=["step 6/60"])
    found = investigate(RUN, known, "a")
    assert found == Failure(
        step="grpo", why="died before it could say why: OOMKilled, exit code 137", log=["step 7/60 with <HF_TOKEN>"]
    )
    assert investigate(RUN, known, "another") == known, "a Pod that is gone adds nothing"


@pytest.mark.fault("the node of a step runs short of memory, and evicts its Pod")
def test_a_step_that_was_told_to_end_gets_its_pods_reason(cluster, tmp_path, seen):
    shortage = {"reason": "Evicted", "message": "The node was low on resource: memory."}
    state = {"terminated": {"exitCode": 143, "reason": "Error"}}
    cluster.pods = [pod("notify-pod", "grpo", state=state, phase="Failed", **shortage)]
    with pytest.raises(SystemExit), recorded(str(tmp_path), RUN, "grpo"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    found = report(state="FAILED", registry=str(tmp_path), run_id=RUN, settings=recipes.TINY.notify)
    assert found.sentence == "grpo was ended by SIGTERM: Evicted: The node was low on resource: memory."
    seen(found.sentence, lost="what came after the last checkpoint")


def test_a_step_without_any_record_is_found_by_its_pod(cluster):
    cluster.pods = [
        pod("p", "preflight", number=1),
        pod("d", "", number=3, phase="Failed", state={"terminated": {"exitCode": 1}}),
        pod("s", "sft", number=2, phase="Failed", state={"terminated": {"exitCode": 1, "reason": "Error"}}),
    ]
    cluster.logs = {"s": f"Traceback ...\nImportError: no module named trl\n{NOISE}"}
    found = investigate(RUN, None, None)
    assert found.step == "sft" and found.log == ["Traceback ...", "ImportError: no module named trl"]
    assert found.why == "failed: Error, exit code 1: ImportError: no module named trl"


@pytest.mark.fault("a user terminates the run, and the step's process is gone before it can write its record")
def test_a_run_that_a_user_terminated_is_no_death(cluster, tmp_path, seen):
    registry, ended = str(tmp_path), {"terminated": {"exitCode": 143, "reason": "Error"}}
    cluster.pods = [pod("s", "sft", state=ended, phase="Failed"), pod("notify-pod", "notify", number=1)]
    cluster.workflows = [workflow("Running", activeDeadlineSeconds=0)]
    assert investigate(RUN, None, None).step == "sft"
    known = {"step": "grpo", "outcome": "running", "started": "2026-01-04T03:00:00+00:00", "log": [], "pod": "g"}
    open_store(registry).write_json(record_key(RUN, "grpo"), known)
    found = report(state="RUNNING", registry=registry, run_id=RUN, settings=recipes.TINY.notify)
    assert found.sentence == "grpo was terminated: somebody ended the run"
    seen(found.sentence, lost="what came after the last checkpoint")


def test_a_run_whose_own_limit_has_passed_says_so(cluster):
    cluster.workflows = [workflow("Running", activeDeadlineSeconds=60)]
    assert investigate(RUN, None, None) is None
    cluster.workflows[0]["status"]["startedAt"] = "2026-01-04T03:00:00Z"
    assert investigate(RUN, None, None).why == "was terminated: the limit of the whole run, 60 s, has passed"


@pytest.mark.fault("Kubeflow's driver dies of a retry, and the exit handler with it")
@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_the_next_run_takes_over_from_one_whose_workflow_has_ended_and_tells_of_it(cluster, tmp_path, phase, seen):
    registry = str(tmp_path)
    store = open_store(registry)
    lock.take(store, RUN, 86_400)
    with recorded(registry, RUN, "preflight") as record:
        record.details = {"changed": True}
    same_name = "two tasks have the same task name"
    cluster.workflows = [workflow(phase, ("sft-driver", "Failed", same_name), ("preflight", "Succeeded", ""))]
    recipe = replace(recipes.TINY, registry=registry)
    if phase == "Running":
        with pytest.raises(ValueError, match=f"is in use by run {RUN} .*unlock --registry .* {RUN}`") as error:
            _own_registry(recipe, "next")
        seen(str(error.value), fault="a run is silent for an hour, and its workflow works")
        return
    with Webhook() as webhook, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_WEBHOOK", f"http://127.0.0.1:{webhook.server.server_port}/hook")
        _own_registry(recipe, "next")
    lock.check(store, "next")
    ((_, body),) = webhook.received
    sentence = read_outcomes(store)[-1].sentence
    assert sentence == f"sft was not started, because Kubeflow's driver failed: {same_name}"
    assert json.loads(body)["sentence"] == sentence
    seen(sentence)


def test_pods_that_are_gone_leave_the_word_to_kubeflow_pipelines(cluster):
    cluster.failed = [("grpo", ""), ("grpo(0)", ""), ("executor", ""), ("exit-handler-1", ""), ("root", "")]
    found = investigate(RUN, None, None)
    assert found.step == "grpo" and "its Pod is gone, and Kubeflow Pipelines names no reason" in found.why


def test_missing_rights_leave_the_answer_poorer_and_are_told(cluster, capsys):
    cluster.pods = [pod("s", "sft", state=OOM, phase="Failed")]
    cluster.forbidden = "/log"
    assert investigate(RUN, None, None) == Failure(step="sft", why="failed: OOMKilled, exit code 137", log=[])
    cluster.forbidden = "/pods"
    assert investigate(RUN, None, None) is None
    assert "does not tell: Forbidden" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [GARBAGE, CUT])
def test_a_broken_answer_leaves_the_answer_poorer(cluster, monkeypatch, capsys, answer):
    with raw_server(answer) as (url, _):
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", url)
        assert investigate(RUN, None, None) is None
    assert "does not tell: " in capsys.readouterr().out


PAGE = b"<html><body>Log in, M\xff\xfcller</body></html>"


def http(body, kind="text/html", status="200 OK", more=""):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


NO_RUNS = {
    "a login page": http(PAGE),
    "a redirect to a login page": http(b"", status="302 Found", more="Location: /login\r\n"),
    "a list": http(b"[1, 2]", "application/json"),
    "null": http(b"null", "application/json"),
    "a text": http(b'"run_id"', "application/json"),
    "no details": http(b'{"run_id": "r", "run_details": null}', "application/json"),
    "details of another form": http(b'{"run_id": "r", "run_details": {"task_details": ["sft"]}}', "application/json"),
    "an error of another form": http(b'{"run_id": "r", "run_details": {"task_details": [{"state": "FAILED", '
                                     b'"display_name": 7, "error": "no"}]}}', "application/json"),
    "another JSON": http(b'{"login": "/oauth"}', "application/json"),
    "nothing": http(b""),
    "an error": http(PAGE, status="500 Sorry"),
}  # fmt: skip


def ended(registry, run_id, url, monkeypatch, capsys):
    """What the exit handler prints of a run that died after preflight; it has ended in every respect."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", url)
    store = open_store(str(registry))
    lock.take(store, run_id, 3600)
    with recorded(str(registry), run_id, "preflight") as record:
        record.details = {"changed": True}
    with Webhook() as webhook:
        monkeypatch.setenv("NOTIFY_WEBHOOK", f"http://127.0.0.1:{webhook.server.server_port}/hook")
        found = report(state="FAILED", registry=str(registry), run_id=run_id, settings=recipes.TINY.notify)
    assert found.sentence == "the run ended in state FAILED after preflight; look at the Pod that was to follow"
    assert read_outcomes(store)[-1] == found and lock.current(store).value["released"]
    ((_, body),) = webhook.received
    assert json.loads(body)["sentence"] == found.sentence
    return capsys.readouterr().out


@pytest.mark.fault("Kubeflow Pipelines answers the exit handler with a login page, or JSON of another form")
def test_whatever_kubeflow_pipelines_answers_the_run_has_ended(cluster, tmp_path, monkeypatch, capsys, seen):
    for number, (what, answer) in enumerate(NO_RUNS.items()):
        with raw_server(answer) as (url, _):
            said = ended(tmp_path / "registry", f"r{number}", url, monkeypatch, capsys)
        assert ("Kubeflow Pipelines does not tell: " in said) == (what != "no details"), what
        if what == "a login page":
            assert f"{url} answers with no run but '<html><body>Log in" in said
            seen(next(line for line in said.splitlines() if "Pipelines does not tell" in line))


NO_PODS = [
    PAGE, b"", b"null", b"[]", b"{}", b'{"items": null}', b'{"items": 1}', b'{"items": [7]}', b'{"items": [{}]}',
    b'{"items": [{"metadata": {}, "spec": {"containers": [{"name": "main", "args": 7}]}}]}',
]  # fmt: skip


@pytest.mark.fault("Kubernetes answers the exit handler with JSON of another form, or with none")
def test_whatever_kubernetes_answers_the_run_has_ended(cluster, tmp_path, monkeypatch, capsys, seen):
    for number, body in enumerate(NO_PODS):
        monkeypatch.setattr(cluster, "answer", lambda *_, body=body: (200, body))
        with raw_server(http(b'{"run_id": "r"}', "application/json")) as (url, _):
            said = ended(tmp_path / "registry", f"r{number}", url, monkeypatch, capsys)
        lines = [line for line in said.splitlines() if "not tell" in line or "not understood" in line]
        assert lines or body in (b"null", b"[]"), body
        if body == PAGE:
            seen(lines[-1])


def test_a_webhook_that_leads_to_a_login_has_not_taken_the_message(monkeypatch, capsys):
    with raw_server(http(b"", status="302 Found", more="Location: /login\r\n"), http(PAGE)) as (url, received):
        post(url, message(outcome("r1"), "", "json"))
    assert "webhook failed: it leads to another page" in capsys.readouterr().out and len(received) == 2
    with raw_server(http(PAGE)) as (url, _):
        post(url, message(outcome("r1"), "", "json"))
    assert "webhook answered 200" in capsys.readouterr().out


def test_a_step_knows_its_image_by_digest(cluster, monkeypatch):
    cluster.pods = [pod("notify-pod", "notify")]
    monkeypatch.setenv("GRPO_COMMIT", "a" * 40)
    found = machine.describe(heavy=False)
    assert found["image"] == "registry.example/data@sha256:c616" and found["commit"] == "a" * 40


def test_the_exit_handler_asks_only_when_the_records_show_no_end(cluster, tmp_path):
    """A Pod that failed and was replaced is no failure of a run whose model was rejected in the end."""
    cluster.pods = [pod("s", "sft", state=OOM, phase="Failed")]
    ask = {"registry": str(tmp_path / "registry"), "settings": recipes.TINY.notify, "state": "RUNNING"}
    with recorded(ask["registry"], "rejected", "gate") as record:
        record.details = {"promoted": False}
    assert report(run_id="rejected", **ask).ending == "rejected" and not any("pods?" in path for path in cluster.asked)
    with recorded(ask["registry"], RUN, "preflight") as record:
        record.details = {"changed": True}
    found = report(run_id=RUN, **ask)
    assert (found.ending, found.failed_step) == ("failed", "sft") and "OOMKilled" in found.sentence


def test_outside_a_pod_nobody_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(inside, "ACCOUNT", tmp_path)
    assert inside.own_image() is None and inside.pods_of(RUN) == [] and inside.failed_tasks(RUN) == []
