"""The verbs of a cluster without one: clear refusals, and a schedule's dealings with the server's API."""

import http.server
import json
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

import pipeline
from components.lib.cluster import schedule
from components.lib.cluster.api import arguments_of, endpoint_of, health
from components.lib.recipe import recipes
from tests.fixtures.raw_server import CUT, GARBAGE, raw_server

RECIPE = recipes.override(recipes.TINY, {"registry": "s3://bucket/registry"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit"], "no address of Kubeflow Pipelines; run `kubectl"),
        (["submit", "--endpoint", "localhost:8080"], "has no scheme; write http://localhost:8080"),
        (["submit", "--endpoint", "http://127.0.0.1:9"], "registry is empty; add --set registry=s3://"),
        (["submit", "--set", "registry=s3://b/p", "--endpoint", "http://127.0.0.1:9"], "does not answer at http://127"),
        (["doctor", "--set", "scale_processes=2", "--set", "cluster_gpus=1"], "set cluster_gpus=2"),
        (["schedule", "create"], "schedule create needs the NAME"),
        (["schedule", "create", "x", "--cron", "* *"], "has 2 fields"),
        (["schedule", "list", "--endpoint", "http://127.0.0.1:9"], "does not answer"),
    ],
)
def test_a_refusal_is_one_line_within_seconds(arguments, said, capsys, monkeypatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    monkeypatch.setenv("GRPO_IMAGE_TAG", "a-build")
    started = time.monotonic()
    assert pipeline.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and time.monotonic() - started < 30


@pytest.mark.parametrize("verb", [["submit"], ["schedule", "create", "x", "--cron", "0 3 * * *"]])
def test_a_shell_that_names_no_build_is_refused(verb, capsys, monkeypatch):
    monkeypatch.delenv("GRPO_IMAGE_TAG", raising=False)
    assert pipeline.main([*verb, "--endpoint", "http://127.0.0.1:9"]) == 2
    error = capsys.readouterr().err
    assert "GRPO_IMAGE_TAG is not set" in error and "`make image REGISTRY=...` prints" in error


def test_what_answers_but_is_not_kfp_is_named():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(ValueError, match="is not Kubeflow Pipelines: its health page is no JSON"):
            health(f"http://127.0.0.1:{server.server_port}")


@pytest.mark.parametrize("answer", [GARBAGE, CUT])
def test_a_broken_answer_is_no_traceback(answer):
    with raw_server(answer) as (url, _), pytest.raises(ValueError, match="does not answer at"):
        health(url)


def test_the_endpoint_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://there/")
    assert endpoint_of(None) == "http://there" and endpoint_of("https://here") == "https://here"


def test_arguments_are_typed():
    found = arguments_of(RECIPE)
    assert set(found) == set(recipes.PARAMETERS)
    assert type(found["seed"]) is int and type(found["gate_force"]) is bool and type(found["grpo_beta"]) is float
    assert json.loads(json.dumps(found)) == found


def test_firings_are_shown_in_utc_and_here():
    from components.lib.cluster.cron import parse

    lines = schedule.firings(parse("0 3 * * *"), UTC)
    assert len(lines) == 3 and all(" 03:00:00 UTC, " in line and line.endswith(" here") for line in lines)
    assert f"{datetime.now(UTC):%Y}" in lines[0]


def test_a_schedule_of_somebody_else_is_listed_without_its_firings(capsys):
    shown = [
        SimpleNamespace(
            display_name=name, status="ENABLED", trigger=SimpleNamespace(cron_schedule=SimpleNamespace(cron=expression))
        )
        for name, expression in (("theirs", "@daily"), ("never", "0 0 0 31 2 *"), ("mine", "0 0 3 * * *"))
    ]
    page = SimpleNamespace(recurring_runs=shown, next_page_token="")
    schedule.show(SimpleNamespace(list_recurring_runs=lambda **_: page), "kubeflow", "UTC")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "theirs: @daily, on", "  next: unknown, this expression is none of six fields",
        "never: 0 0 0 31 2 *, on", "  never fires within five years",
    ]  # fmt: skip
    assert lines[4] == "mine: 0 0 3 * * *, on" and lines[5].startswith("  next: 20")


def test_a_zone_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no time zone 'Mars/North'; write an IANA name"):
        schedule.zone_of("Mars/North")
