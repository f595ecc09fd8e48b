"""What `doctor` finds from inside a Pod, and how it says it."""

import http.server
import json
import os
import subprocess
import sys
import threading

import pytest

from components.lib import retry
from components.lib.cluster import doctor, images, pods, probe
from components.lib.cluster.finding import Finding, apply_overlay, asked
from components.lib.recipe import recipes
from tests.fixtures.hub_server import HubServer
from tests.fixtures.model_registry import ModelRegistryServer


def test_directories_that_can_be_written_and_not(tmp_path, capsys):
    assert probe.main(["write", str(tmp_path)]) == 0
    assert "writable, " in capsys.readouterr().out and not list(tmp_path.iterdir())
    assert probe.main(["write", str(tmp_path), str(tmp_path / "missing")]) == 1
    assert "cannot write there: No such file" in capsys.readouterr().out


def test_findings_are_json_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert probe.main(["look", str(tmp_path), "--registry", str(tmp_path / "registry")]) == 0
    found = {line["what"]: line["ok"] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found == {"image": True, f"volume {tmp_path}": True, "registry": True}


def test_whatever_an_s3_server_answers_is_a_finding(monkeypatch):
    """As a server that disagrees about the time, which no credentials or names can change."""

    class Skewed(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(403)
            self.send_header("Content-Type", "application/xml")
            self.end_headers()
            self.wfile.write(b"<Error><Code>RequestTimeTooSkewed</Code><Message>The clocks differ.</Message></Error>")

        do_GET = do_HEAD = do_PUT

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Skewed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tester-secret")
        finding = probe.bucket("s3://bucket/registry")
        server.shutdown()
    assert not finding.ok and "RequestTimeTooSkewed" in finding.detail


@pytest.mark.parametrize(
    ("token", "ok", "said", "may_push"),
    [
        ("hf_write", True, "of tester, role write", True),
        ("hf_read", True, "of tester, role read", False),
        ("hf_wrong", False, "the Hub refuses it: ", False),
    ],
)
def test_the_hub_is_asked_about_the_token(tmp_path, token, ok, said, may_push):
    """Without a registry too; a token that may only read is fine, but not for a push."""
    command = [sys.executable, "-m", "components.lib.cluster.probe", "look", "--hub", "--push", "tester/model"]
    with HubServer() as hub:
        environment = {**os.environ, **hub.environment(tmp_path, token)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    found = {line["what"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert found["hub token"]["ok"] == ok and said in found["hub token"]["detail"]
    assert found["push"]["ok"] == may_push


@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_a_hub_that_does_not_answer_is_no_bad_token(monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    (finding,) = probe.hub()
    assert not finding.ok and finding.what == "hub" and "http://127.0.0.1:9 does not answer" in finding.detail
    shown = doctor._from_pod(finding, "data", recipes.TINY.cluster, "kubeflow")
    assert "HF_TOKEN" not in shown.fix and "open the way from Pods to the Hub" in shown.fix


def test_the_model_registry_is_asked_and_its_token_named(capsys, monkeypatch):
    with ModelRegistryServer(token="right-token") as server:
        found = []
        for token in ("", "right-token"):
            monkeypatch.setenv("MODEL_REGISTRY_TOKEN", token)
            assert probe.main(["look", "--model-registry", server.url]) == 0
            found.append(Finding(**json.loads(capsys.readouterr().out.splitlines()[-1])))
    assert [finding.ok for finding in found] == [False, True] and found[1].detail == f"{server.url} answers"
    shown = doctor._from_pod(found[0], "data", recipes.TINY.cluster, "kubeflow")
    assert "MODEL_REGISTRY_TOKEN is not set (HTTP 401)" in shown.detail and "the Secret grpo-pipeline" in shown.fix


@pytest.mark.parametrize(
    ("changes", "needed"),
    [({}, False), ({"push_hub_repo": "me/model"}, True), ({"model": "lab/olmo"}, True), ({"model": "/cache/m"}, False),
     ({"evaluation": "gsm8k"}, True)],
)  # fmt: skip
def test_the_hub_is_asked_only_where_the_recipe_needs_it(changes, needed):
    assert ("--hub" in doctor._asks(recipes.override(recipes.TINY, changes))) == needed


def test_the_probe_asks_as_preflight_will():
    recipe = recipes.override(recipes.TINY, {"registry": "s3://b/p", "push_hub_repo": "me/model"})
    hub = ["--hub", "--push", "me/model", "--push-data", "me/model-data"]
    assert doctor._asks(recipe) == ["--registry", "s3://b/p", *hub]
    models = recipes.override(recipes.TINY, {"push_model_registry": "http://models:8080"})
    assert doctor._asks(models) == ["--model-registry", "http://models:8080"]
    assert doctor._asks(recipes.TINY) == []


@pytest.mark.parametrize(("registry", "said"), [("", "none given"), ("/cache/r", "/cache/r is no bucket")])
def test_without_a_bucket_nothing_is_ready(registry, said, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    recipe = recipes.override(recipes.TINY, {"registry": registry})
    found = {finding.what: finding for finding in doctor.findings(recipe, "http://127.0.0.1:9", "kubeflow", "", False)}
    assert not found["registry"].ok and found["registry"].detail == said and "s3://" in found["registry"].fix
    assert not found["kubernetes"].ok


@pytest.mark.parametrize(
    ("status", "said", "fix"),
    [
        (403, "Forbidden", "ask for the right to list nodes"),
        (500, "Internal Server Error", "try `kubectl get nodes`, and doctor again"),
    ],
)
def test_what_the_api_server_refuses_is_a_finding(status, said, fix):
    def check(given):
        raise pods.refused()(status=status, reason=said)

    found = asked("gpu", "list nodes", check, "given")
    assert found == Finding(False, "gpu", f"cannot be asked: {said}", fix)


def test_the_fix_of_a_claim_puts_our_image_in_place_of_the_manifests():
    assert apply_overlay().endswith(f'| sed "s#grpo-pipeline/data:dev#{images.data()}#" | kubectl apply -f -')


def test_a_finding_shows_the_fix_only_where_something_is_wrong():
    assert str(Finding(True, "gpu", "fine", "do this")) == "ok     gpu: fine"
    assert str(Finding(False, "gpu", "none", "do this")).splitlines() == ["WRONG  gpu: none", "       fix: do this"]
