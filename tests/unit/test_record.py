"""The run record and what the exit handler makes of it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from components.notify.notify import report, summarise
from components.record import read_records, record_key, recorded, redact
from components.store import open_store


class Metrics:
    def __init__(self):
        self.logged = {}

    def log_metric(self, name, value):
        self.logged[name] = value


def test_a_good_step_leaves_numbers_result_and_log(tmp_path):
    metrics = Metrics()
    with recorded(str(tmp_path), "r1", "sft", metrics) as record:
        print("step 1 loss 0.5")
        record.numbers = {"loss": 0.5}
        record.result = "learned"
    (found,) = read_records(open_store(str(tmp_path)), "r1")
    assert found["outcome"] == "succeeded" and found["result"] == "learned"
    assert found["log"] == ["step 1 loss 0.5"] and found["numbers"] == metrics.logged == {"loss": 0.5}
    assert found["seconds"] >= 0


def test_a_failing_step_leaves_the_reason_and_raises(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    with pytest.raises(RuntimeError), recorded(str(tmp_path), "r1", "grpo"):
        print("about to fail with hf_secretsecret")
        raise RuntimeError("no memory for hf_secretsecret")
    (found,) = read_records(open_store(str(tmp_path)), "r1")
    assert found["outcome"] == "failed" and found["error"] == "RuntimeError: no memory for <HF_TOKEN>"
    assert "about to fail with <HF_TOKEN>" in found["log"]
    assert "hf_secretsecret" not in json.dumps(found)


def test_a_step_that_is_running_is_on_record(tmp_path):
    with recorded(str(tmp_path), "r1", "grpo"):
        assert open_store(str(tmp_path)).read_json(record_key("r1", "grpo"))["outcome"] == "running"


def test_redact_leaves_short_and_harmless_values():
    environment = {"MY_TOKEN": "abc", "HOME": "/somewhere", "API_KEY": "0123456789"}
    assert redact("abc /somewhere 0123456789", environment) == "abc /somewhere <API_KEY>"


def step(name, outcome, **more):
    return {"step": name, "outcome": outcome, "started": "t", "result": f"{name} result", "numbers": {}, **more}


@pytest.mark.parametrize(
    ("state", "records", "ending", "sentence"),
    [
        ("SUCCEEDED", [step("preflight", "succeeded")], "no-change", "preflight result"),
        ("COMPLETE", [step("preflight", "succeeded"), step("gate", "succeeded")], "rejected", "gate result"),
        ("COMPLETE", [step("gate", "succeeded"), step("push", "succeeded")], "promoted", "push result"),
        ("FAILED", [step("sft", "failed", error="ValueError: bad")], "failed", "sft failed: ValueError: bad"),
        ("RUNNING", [step("sft", "succeeded"), step("grpo", "running")], "failed", "grpo died before"),
        ("RUNNING", [], "failed", "no step recorded a failure"),
        ("COMPLETE", [], "failed", "no step left a record"),
    ],
)
def test_endings(state, records, ending, sentence):
    outcome = summarise(state, "r1", records)
    assert outcome.ending == ending and sentence in outcome.sentence


def test_report_writes_the_outcome_and_calls_the_webhook(tmp_path, monkeypatch, capsys):
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        monkeypatch.setenv("NOTIFY_WEBHOOK", f"http://127.0.0.1:{server.server_port}/hook")
        with recorded(str(tmp_path), "r1", "preflight") as record:
            record.result = "nothing has changed"
        report(state="SUCCEEDED", registry=str(tmp_path), run_id="r1")
        thread.join(10)
    assert received[0]["text"] == "no-change: nothing has changed" and received[0]["run_id"] == "r1"
    assert "run r1: no-change: nothing has changed" in capsys.readouterr().out
    assert open_store(str(tmp_path)).read_json("runs/r1/outcome.json")["ending"] == "no-change"


def test_a_dead_webhook_is_said_and_does_not_fail_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NOTIFY_WEBHOOK", "http://127.0.0.1:9/secret-path")
    report(state="FAILED", registry=str(tmp_path), run_id="r1")
    printed = capsys.readouterr().out
    assert "webhook failed" in printed and "secret-path" not in printed
