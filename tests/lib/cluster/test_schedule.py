"""The verbs of a cluster without one: clear refusals, and a schedule's dealings with the server's API."""

import http.server
import json
import threading
import time
from types import SimpleNamespace

import pytest
from kfp_server_api.exceptions import ApiException

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


@pytest.mark.parametrize(
    ("text", "cron"),
    [("0 3 * * 0", "0 0 3 * * 0"), ("*/5 0 3 * * sun", "*/5 0 3 * * sun"), ("  5 *  * * * ", "0 5 * * * *")],
)
def test_seconds_go_in_front_of_five_fields(text, cron):
    assert schedule.six_fields(text) == cron


@pytest.mark.parametrize(("text", "count"), [("", 0), ("@daily", 1), ("* * * *", 4), ("0 0 3 * * 0 2026", 7)])
def test_other_numbers_of_fields_are_refused(text, count):
    with pytest.raises(ValueError, match=f"has {count} fields; write 5 "):
        schedule.six_fields(text)


class Pipelines:
    """A server with one schedule, which reads cron expressions as KFP's does, by a refusal in its words."""

    def __init__(self):
        self.jobs = [SimpleNamespace(display_name="weekly", recurring_run_id="old", status="ENABLED", trigger=None)]
        self.made = {}

    def list_recurring_runs(self, **_):
        return SimpleNamespace(recurring_runs=self.jobs, next_page_token="")

    def list_runs(self, **_):
        return SimpleNamespace(runs=[], next_page_token="")

    def create_experiment(self, *_, **__):
        return SimpleNamespace(experiment_id="e")

    def delete_recurring_run(self, job):
        self.jobs = [known for known in self.jobs if known.recurring_run_id != job]

    def create_recurring_run(self, **given):
        if "75" in given["cron_expression"]:
            said = "Invalid input error: Schedule cron is not a supported format\nError: 75 above 59"
            error = ApiException(status=400, reason="Bad Request")
            error.body = json.dumps({"code": 3, "message": said, "details": []})
            raise error
        self.made = given
        return SimpleNamespace(recurring_run_id="new")


def create(client, expression):
    return schedule.create(
        RECIPE, pipeline.build(RECIPE), client, name="weekly", expression=expression, experiment="e", namespace="n",
        service_account="", force=False,
    )  # fmt: skip


def test_what_the_server_refuses_is_one_line_and_keeps_the_old_schedule():
    client = Pipelines()
    with pytest.raises(ValueError, match="refuses the schedule weekly with cron '0 75 3 .*75 above 59") as error:
        create(client, "75 3 * * 0")
    assert "\n" not in str(error.value) and [job.recurring_run_id for job in client.jobs] == ["old"]


def test_a_new_schedule_takes_the_place_of_the_old_one(capsys):
    client = Pipelines()
    assert create(client, "0 3 * * 0") == "new" and client.jobs == []
    assert client.made["cron_expression"] == "0 0 3 * * 0" and client.made["params"] == arguments_of(RECIPE)
    assert client.made["max_concurrency"] == 1 and client.made["no_catchup"] and client.made["enabled"]
    assert capsys.readouterr().out == "schedule weekly: new, in place of the one before\n"


def test_schedules_are_listed_with_expression_and_state(capsys):
    shown = [
        SimpleNamespace(display_name=name, status=status, trigger=SimpleNamespace(cron_schedule=cron))
        for name, status, cron in (
            ("theirs", "ENABLED", SimpleNamespace(cron="@daily")),
            ("mine", "DISABLED", SimpleNamespace(cron="0 0 3 * * *")),
            ("every", "ENABLED", None),
        )
    ]
    client = Pipelines()
    client.jobs = shown
    schedule.show(client, "kubeflow")
    assert capsys.readouterr().out == "theirs: @daily, on\nmine: 0 0 3 * * *, paused\nevery: by interval, on\n"
