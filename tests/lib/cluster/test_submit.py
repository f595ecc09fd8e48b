"""What `submit --wait` makes of a run: the names and states of its steps, and how it ended."""

from types import SimpleNamespace

import kfp_server_api
import pytest
from kfp import compiler

import pipeline
from components.lib.cluster import submit
from components.lib.recipe import recipes
from components.lib.registry.store import open_store

RUN = "0000-1111"


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline.build(recipes.TINY), str(path))
    return submit.step_names(path)


def test_steps_are_called_as_on_the_page_and_groups_are_none(names):
    assert names["evaluate-2"] == "Evaluate sft" and names["preflight"] == "Preflight" and names["push"] == "Push"
    assert len(names) == 11 and not any("condition" in name or "exit-handler" in name for name in names)


def test_kfps_own_tasks_are_left_out(names):
    tasks = [
        SimpleNamespace(display_name=name, state=state, create_time=time)
        for name, state, time in (
            ("gate", "RUNNING", 2), ("gate-driver", "SUCCEEDED", 1), ("root", "RUNNING", 0), ("sft(0)", "RUNNING", 0),
            ("executor", "RUNNING", 0), ("condition-2", "RUNNING", 0), ("sft", None, 1), (None, None, 0),
        )
    ]  # fmt: skip
    found = submit.step_states(SimpleNamespace(run_details=SimpleNamespace(task_details=tasks)), names)
    assert list(found.items()) == [("SFT", "PENDING"), ("Gate", "RUNNING")]
    assert submit.step_states(SimpleNamespace(run_details=None), names) == {}


def outcome(**changes):
    return {"ending": "failed", "sentence": "sft failed: ValueError: no rows", "log": [], **changes}


def test_the_verdict_comes_last_after_the_log(tmp_path):
    log = [f"line {number}" for number in range(40)]
    open_store(str(tmp_path)).write_json(f"runs/{RUN}/outcome.json", outcome(log=log))
    lines = submit.ending(str(tmp_path), RUN, ["SFT"])
    assert lines[0] == "    line 20" and lines[-3:] == [
        "    line 39", "failed: sft failed: ValueError: no rows", f"record: {tmp_path}/runs/{RUN}/outcome.json",
    ]  # fmt: skip


def test_a_run_without_a_record_leads_to_its_pods(tmp_path):
    lines = submit.ending(str(tmp_path), RUN, ["Preflight"])
    assert lines[0] == "failed: Preflight" and f"kubectl get pods -A -l pipeline/runid={RUN}" in lines[1]


def test_without_access_to_the_bucket_it_says_what_to_set(monkeypatch):
    for name in ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    (line,) = submit.ending("s3://bucket/registry", RUN, [])
    assert f"s3://bucket/registry/runs/{RUN}/outcome.json" in line and "needs S3_ENDPOINT, AWS_ACCESS_KEY_ID" in line


def test_a_server_that_stays_silent_is_given_up(monkeypatch, capsys):
    monkeypatch.setattr(submit, "SILENT_S", 0.5)
    monkeypatch.setattr(submit, "POLL_S", 0.1)
    configuration = kfp_server_api.Configuration()
    configuration.host, configuration.retries = "http://127.0.0.1:9", 0
    api = kfp_server_api.RunServiceApi(kfp_server_api.ApiClient(configuration))
    client = SimpleNamespace(get_run=lambda run_id: api.run_service_get_run(run_id=run_id))
    with pytest.raises(ValueError, match=f"does not tell how run {RUN} is doing: .*Connection refused"):
        submit.asked(client, RUN)
    assert capsys.readouterr().out.count("asking again") == 1
