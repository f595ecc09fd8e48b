"""The exit handler: how a run ended, and the message about it in each format."""

import dataclasses
import json
import logging
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from components.lib import retry
from components.lib.recipe import recipes
from components.lib.recipe.settings import replace
from components.lib.registry import lock
from components.lib.registry.outcome import GOOD_STATES, artifact_root, conclude, failure_of, gpu_hours, read_outcomes
from components.lib.registry.record import recorded
from components.lib.registry.store import open_store
from components.lib.reporting import tell
from components.lib.reporting.messages import NTFY_LIMIT, SLACK_LIMIT, message, text
from components.lib.reporting.statistics import wilson
from components.lib.reporting.tell import link_of, post
from components.notify.notify import report
from tests.fixtures.outcomes import outcome
from tests.fixtures.raw_server import BUSY, DONE, GARBAGE, raw_server

SETTINGS = recipes.TINY.notify
GATE = {"accuracy": 0.6, "n": 448.0, "base_difference": 0.081, "champion_difference": -0.002}
REJECTED = outcome(
    "week-06", right=771, sentence="grpo is rejected: it loses 0.2 points to the champion.",
    numbers={"gate": GATE, "compare": {"rows": 9000.0, "new_rows": 120.0}}, gpu_hours=4.83,
    seconds={"grpo": 17000.0, "sft": 400.0},
)  # fmt: skip
FAILED = outcome(
    "week-05", ending="failed", failed_step="grpo",
    sentence="grpo died before it could say why: OOMKilled, exit code 137",
    log=[f"step {n}/500  reward <{n}> & more" for n in range(40)],
)  # fmt: skip
LINK = "https://kubeflow.example/#/runs/details/week-06"


def step(name, outcome, **more):
    return {"step": name, "outcome": outcome, "started": "2026-01-04T03:00:00+00:00", "result": f"{name} result",
            "log": [f"{name} line"], "numbers": {}, **more}  # fmt: skip


CHANGED = step("preflight", "succeeded", details={"changed": True})
PROMOTE = step("gate", "succeeded", details={"promoted": True, "forced": False})
PUSHING = {"step": "push", "outcome": "running", "log": []}
FORCE = step("gate", "succeeded", details={"promoted": True, "forced": True})


@pytest.mark.parametrize(
    ("state", "records", "ending", "sentence"),
    [
        ("SUCCEEDED", [step("preflight", "succeeded", details={"changed": False})], "no-change", "preflight result"),
        ("RUNNING", [step("preflight", "succeeded", details={"changed": False})], "no-change", "preflight result"),
        ("RUNNING", [CHANGED, step("gate", "succeeded", details={"promoted": False})], "rejected", "gate result"),
        ("COMPLETE", [CHANGED, PROMOTE, step("push", "succeeded")], "promoted", "push result"),
        ("COMPLETE", [CHANGED, FORCE, step("push", "succeeded")], "promoted", "push result, by force"),
        ("FAILED", [step("sft", "failed", error="ValueError: bad")], "failed", "sft failed: ValueError: bad"),
        ("RUNNING", [step("sft", "succeeded"), step("grpo", "running")], "failed", "grpo died before"),
        ("RUNNING", [CHANGED], "failed", "the run ended in state RUNNING after preflight; look at the Pod"),
        ("FAILED", [CHANGED, PROMOTE], "failed", "the run ended in state FAILED after gate; look at the Pod"),
        ("RUNNING", [], "failed", "no step left a record (state RUNNING)"),
        ("COMPLETE", [], "failed", "no step left a record"),
        ("COMPLETE", [CHANGED, PROMOTE, PUSHING], "failed", "the run ended in state COMPLETE after push; look"),
    ],
)
def test_endings(tmp_path, state, records, ending, sentence):
    store = open_store(str(tmp_path))
    for number, record in enumerate(records):
        started = f"2026-01-04T03:0{number}:00+00:00"
        store.write_json(f"runs/r1/record/{record['step']}.json", record | {"started": started})
    found = conclude(store, "r1", state=state, ended=0.0, failure=failure_of(state, records))
    assert found.ending == ending and sentence in found.sentence
    stopped = ("failed", "running") if state not in GOOD_STATES else ("failed",)
    assert found.failed_step == next((r["step"] for r in records if r["outcome"] in stopped), None)


def test_what_went_wrong_after_the_promotion_is_a_warning_and_no_failure(tmp_path):
    store = open_store(str(tmp_path))
    push = step("push", "succeeded", details={"version": "v2", "warning": "v2 is not in the Model Registry: no answer"})
    for number, record in enumerate((CHANGED, PROMOTE, push)):
        store.write_json(f"runs/r1/record/{number}.json", record | {"started": f"2026-01-04T03:0{number}:00+00:00"})
    found = conclude(store, "r1", state="COMPLETE", ended=0.0, failure=None)
    assert (found.ending, found.warnings) == ("promoted", ["v2 is not in the Model Registry: no answer"])
    told = "push result.\nWarning: v2 is not in the Model Registry: no answer\n"
    assert told in text(found, "") and json.loads(message(found, "", "json").body)["warnings"] == found.warnings


def test_a_push_that_died_after_the_crowning_has_promoted(tmp_path):
    store = open_store(str(tmp_path))
    store.write_json("champion.json", {"version": "v2", "run_id": "r1"})
    records = [step("push", "running")]
    found = conclude(store, "r1", state="FAILED", ended=0.0, failure=failure_of("FAILED", records))
    assert found.ending == "promoted" and found.version == found.champion == "v2"
    assert found.sentence.startswith("version v2 is the champion, although push died")


def test_gpu_hours_are_seconds_times_gpus():
    records = [step("grpo", "succeeded", seconds=5400.0, machine={"gpus": ["A", "A"]}),
               step("gate", "succeeded", seconds=60.0, machine={"gpus": []}), step("sft", "running")]  # fmt: skip
    assert gpu_hours(records) == 3.0


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("minio://b/v2/artifacts/grpo-pipeline/r1/sft/uuid/metrics", "minio://b/v2/artifacts/grpo-pipeline/r1"),
        ("/out/artifacts/grpo-pipeline-2026-01-04-03-00/sft/metrics", "/out/artifacts/grpo-pipeline-2026-01-04-03-00"),
        ("/tmp/kfp/outputs/merged", ""), ("", ""), ("/", ""),
    ],
)  # fmt: skip
def test_where_a_runs_artifacts_are(uri, root):
    assert artifact_root(uri, "r1") == root


def test_the_text_says_what_happened_the_numbers_and_the_link():
    assert text(REJECTED, LINK).splitlines() == [
        "qwen3.5-0.8b: rejected",
        "grpo is rejected: it loses 0.2 points to the champion.",
        "zero-shot, 1,319 problems: base 52.1% (49.4% to 54.8%), GRPO 58.5% (55.8% to 61.1%).",
        "8-shot, 1,319 problems: base 53.4% (50.8% to 56.1%), GRPO 0.1% (0.0% to 0.4%).",
        "Gate: 60.0% of 448 problems, +8.1% on the base, -0.2% on the champion.",
        "Data: 9,000 rows, 120 of them new since the champion.",
        "Steps took 4 h 50 min, 4.8 GPU-hours.",
        LINK,
    ]
    failed = text(FAILED, LINK).splitlines()
    assert failed[1].startswith("grpo died before it could say why: OOMKilled")
    assert failed[3] == "Last lines of grpo:" and failed[-2] == "    step 39/500  reward <39> & more"
    assert len(failed) == 4 + 12 + 1


def test_plain_json_is_the_outcome_with_text_and_link():
    sent = message(FAILED, LINK, "json")
    found = json.loads(sent.body)
    assert sent.headers == {"Content-Type": "application/json"} and found["link"] == LINK
    assert found["failed_step"] == "grpo" and len(found["log"]) == 40 and found["text"] == text(FAILED, LINK)


def test_slack_gets_sections_within_its_limits():
    long = dataclasses.replace(FAILED, log=["x" * 500] * 40)
    for run in (REJECTED, FAILED, long):
        found = json.loads(message(run, LINK, "slack").body)
        assert set(found) == {"text", "mrkdwn", "blocks"} and found["text"].startswith(f"qwen3.5-0.8b: {run.ending}. ")
        head, *sections, context = found["blocks"]
        assert head["text"]["text"] == f"qwen3.5-0.8b: {run.ending}"
        assert len(sections) == 1 + bool(run.log) and all(b["type"] == "section" for b in sections)
        assert all(len(b["text"]["text"]) <= SLACK_LIMIT + 100 for b in sections)
        assert context["elements"][0]["text"] == f"run <{LINK}|{run.run_id}>"
    log = json.loads(message(FAILED, LINK, "slack").body)["blocks"][2]["text"]["text"]
    assert "reward &lt;39&gt; &amp; more```" in log and "<39>" not in log


def test_ntfy_gets_text_and_headers_within_its_limit():
    sent = message(REJECTED, LINK, "ntfy")
    assert sent.headers["Title"] == "qwen3.5-0.8b: rejected" and sent.headers["Click"] == LINK
    assert sent.headers["Priority"] == "3" and "zero-shot, 1,319 problems" in sent.body.decode()
    assert message(FAILED, "", "ntfy").headers["Priority"] == "4"
    long = message(dataclasses.replace(FAILED, log=["größer " * 100] * 40), "/registry/runs/week-05", "ntfy")
    assert len(long.body) <= NTFY_LIMIT + 10 and "OOMKilled" in long.body.decode() and "Click" not in long.headers
    assert long.body.decode().endswith("/registry/runs/week-05")


def test_the_link_is_the_ui_or_the_report_or_the_records(tmp_path):
    store = open_store(str(tmp_path))
    assert link_of(store, "r1", replace(SETTINGS, ui="https://k.example/pipeline/")) == (
        "https://k.example/pipeline/#/runs/details/r1"
    )
    assert link_of(store, "r1", SETTINGS) == str(tmp_path / "runs/r1")
    store.write("runs/r1/results/report.html", b"")
    assert link_of(store, "r1", SETTINGS) == str(tmp_path / "runs/r1/results/report.html")


class Webhook:
    """A server that takes one message."""

    def __init__(self):
        received = self.received = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                received.append((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.handle_request)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(10)
        self.server.server_close()


@pytest.mark.parametrize("format", ["json", "slack", "ntfy"])
def test_report_writes_the_outcome_calls_the_webhook_and_lets_go(tmp_path, monkeypatch, capsys, format):
    store = open_store(str(tmp_path))
    with Webhook() as webhook:
        monkeypatch.setenv("NOTIFY_WEBHOOK", f"http://127.0.0.1:{webhook.server.server_port}/hook")
        lock.take(store, "r1", 3600)
        with recorded(str(tmp_path), "r1", "preflight") as record:
            record.result, record.details = "nothing has changed", {"changed": False}
        settings = replace(SETTINGS, format=format)
        report(state="SUCCEEDED", registry=str(tmp_path), run_id="r1", settings=settings)
    ((headers, body),) = webhook.received
    assert "nothing has changed" in body.decode()
    assert headers["Content-Type"] == ("text/plain" if format == "ntfy" else "application/json")
    assert "run r1: no-change: nothing has changed\nwebhook answered 204" in capsys.readouterr().out
    assert [run.ending for run in read_outcomes(store)] == ["no-change"] and lock.current(store).value["released"]


def test_a_webhooks_interval_is_that_of_the_report():
    low, high = wilson(771, 1319, 0.95)
    assert f"GRPO 58.5% ({low:.1%} to {high:.1%})" in text(REJECTED, "")


def test_a_registry_that_cannot_be_used_is_told_and_raised(monkeypatch):
    """No credentials, and a server that is not there."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    for name, value in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret-key")):
        monkeypatch.setenv(name, value)
    settings = replace(SETTINGS, ui="https://k.example")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    for endpoint, said in (("", "needs S3_ENDPOINT in the environment"), (dead, "no answer from http")):
        monkeypatch.setenv("S3_ENDPOINT", endpoint)
        with Webhook() as webhook, pytest.raises((ValueError, OSError), match=said):
            monkeypatch.setenv("NOTIFY_WEBHOOK", f"http://127.0.0.1:{webhook.server.server_port}/hook")
            report(state="SUCCEEDED", registry="s3://bucket/registry", run_id="r1", settings=settings)
        sent = json.loads(webhook.received[0][1])
        assert sent["ending"] == "failed" and sent["link"] == "https://k.example/#/runs/details/r1"
        assert sent["sentence"].startswith("the registry cannot be used: ") and said in sent["sentence"]


@pytest.mark.fault("pipeline.py run is killed before its exit handler has said a word")
def test_a_console_that_is_gone_keeps_no_message_back(tmp_path, monkeypatch, seen):
    read, write = os.pipe()
    os.close(read)
    with Webhook() as webhook, os.fdopen(write, "w", buffering=1) as console:
        monkeypatch.setenv("NOTIFY_WEBHOOK", f"http://127.0.0.1:{webhook.server.server_port}/hook")
        monkeypatch.setattr(sys, "stdout", console)
        report(state="FAILED", registry=str(tmp_path), run_id="r1", settings=SETTINGS)
    [outcome] = read_outcomes(open_store(str(tmp_path)))
    sent = json.loads(webhook.received[0][1])
    assert sent["sentence"] == outcome.sentence
    seen(f"the message: {sent['ending']}: {sent['sentence']}")


def test_a_busy_or_broken_webhook_is_asked_again(monkeypatch, capsys):
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    with raw_server(BUSY, b"", GARBAGE, DONE) as (url, received):
        post(url, message(FAILED, LINK, "json"))
    assert len(received) == 4 and "webhook answered 204" in capsys.readouterr().out
    with raw_server(b"HTTP/1.1 404 No\r\n\r\n") as (url, received):
        post(url, message(FAILED, LINK, "json"))
    assert len(received) == 1 and "webhook failed: HTTP 404" in capsys.readouterr().out


@pytest.mark.parametrize(
    "address",
    ["https://hooks.example/secret path\x00", "https://hooks.example:secret/x", "secret", "secret://host", ""],
)
def test_a_malformed_address_is_not_told(capsys, address):
    post(address, message(FAILED, LINK, "json"))
    assert "write https://HOST/PATH" in (printed := capsys.readouterr().out) and "secret" not in printed


def test_the_address_is_in_no_log(capsys, caplog, monkeypatch):
    """As KFP's steps log, from INFO on."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    logging.getLogger("httpx2").setLevel(logging.NOTSET)
    with caplog.at_level(logging.INFO), raw_server(BUSY, b"", b"HTTP/1.1 404 No\r\n\r\n") as (url, received):
        post(f"{url}/secret-path?secret=1", message(FAILED, LINK, "json"))
    assert len(received) == 3 and b"POST /secret-path" in received[0]
    assert "secret" not in caplog.text + "".join(capsys.readouterr())


@pytest.mark.fault("the webhook takes the message and never answers")
def test_a_webhook_delays_the_end_by_its_time_at_most(monkeypatch, capsys, seen):
    monkeypatch.setattr(tell, "WEBHOOK_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        post(f"http://127.0.0.1:{silent.getsockname()[1]}/secret-path", message(FAILED, LINK, "json"))
        assert time.monotonic() - began < 2
    seen(printed := capsys.readouterr().out)
    assert printed == "webhook failed: no answer within 0.3 s; check NOTIFY_WEBHOOK\n"


def test_a_dead_webhook_is_said_and_does_not_fail_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    monkeypatch.setenv("NOTIFY_WEBHOOK", "http://127.0.0.1:9/secret-path")
    report(state="FAILED", registry=str(tmp_path), run_id="r1", settings=SETTINGS)
    printed = capsys.readouterr().out
    assert "webhook failed" in printed and "secret-path" not in printed
