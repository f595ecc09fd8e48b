"""Registering a promoted version in Kubeflow's Model Registry: what is told, once only, and what a failure costs."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from components.lib import retry
from components.lib.files import write_json
from components.lib.model_registry import ModelRegistry
from components.lib.recipe import recipes
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import from_json, replace, to_json
from components.lib.registry import lock
from components.lib.registry.champion import read_champion
from components.lib.registry.outcome import conclude
from components.lib.registry.store import open_store
from components.notify.notify import report
from components.push import component
from components.push.push import push
from components.push.register import register, register_version
from tests.fixtures.model_registry import ModelRegistryServer
from tests.fixtures.raw_server import raw_server
from tests.fixtures.releases import make_run

NUMBERS = {
    "candidate": "grpo",
    "n": 100,
    "accuracy": 0.6,
    "base_difference": 0.4,
    "base_p_value": 1e-6,
    "forced": False,
}
LOGIN = b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
OTHER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"status": 1}'


@pytest.fixture
def server():
    with ModelRegistryServer() as made:
        yield made


@pytest.fixture
def pushed(tmp_path):
    """A registry and what a push of a run has told of its champion."""
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    decision = tmp_path / "decision.json"
    write_json(decision, {"promote": True, "reason": "grpo is promoted.", "numbers": NUMBERS})
    return run["registry"], push(**run | {"decision": decision})


@pytest.fixture
def no_wait(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)


def plain(properties):
    """Custom properties without their types."""
    return {name: found.get("string_value", found.get("double_value")) for name, found in properties.items()}


def test_a_version_is_registered_with_its_origin_and_its_scores(server, pushed):
    registry, told = pushed
    assert register(registry, told, server.url + "/") == {"registered": f"qwen3.5-0.8b {told['version']}"}
    (model,), (version,), (artifact,) = map(server.of, ("registered_model", "model_version", "model_artifact"))
    assert model["name"] == "qwen3.5-0.8b" and "Qwen/Qwen3.5-0.8B trained to reason: sft then grpo" in str(model)
    assert (version["name"], version["state"], version["description"]) == (told["version"], "LIVE", "grpo is promoted.")
    found = plain(version["customProperties"])
    commit = found.pop("commit")
    assert commit == open_store(registry).read_json(f"models/{told['version']}/provenance.json")["commit"]
    sources = recipes.QWEN.sources
    assert found == {
        "recipe": "qwen3.5-0.8b", "run_id": "run-0", "seed": "0",
        "base_model": "Qwen/Qwen3.5-0.8B", "base_revision": "b" * 40,
        "data": ", ".join(f"{source.path} at {'c' * 40}" for source in sources),
        "evaluation_data": f"openai/gsm8k at {'d' * 40}",
        "base_zero_shot_accuracy": 0.2, "grpo_zero_shot_accuracy": 0.6, "gate_accuracy": 0.6,
        "gate_base_difference": 0.4, "gate_base_p_value": 1e-6,
    }  # fmt: skip
    assert artifact["uri"] == f"file://{told['location']}" and artifact["artifactType"] == "model-artifact"
    assert (artifact["modelSourceClass"], artifact["modelSourceId"]) == ("pipelinerun", "run-0")


def test_registering_again_makes_no_second_one(server, pushed):
    """As a step whose Pod was replaced does, after each of its three posts."""
    registry, told = pushed
    for whole in (3, 2, 1):
        register(registry, told, server.url)
        made = list(server.held)
        assert len(made) == 3
        assert register(registry, told, server.url)["registered"] and server.held == made
        server.held = made[: whole - 1]
    posts = [line for line in server.log if line.startswith("POST")]
    assert len(posts) == 3 + 1 + 2


def test_an_answer_that_was_lost_makes_no_second_one(server, pushed, no_wait):
    registry, told = pushed
    server.faults += [0, "lost", 503, 0, 429, 0, "lost"]
    assert register(registry, told, server.url)["registered"]
    assert [kind for kind, _, _ in server.held] == ["registered_model", "model_version", "model_artifact"]
    assert not server.faults


def test_what_another_makes_meanwhile_is_found(server, pushed, no_wait):
    registry, told = pushed
    register(registry, told, server.url)
    server.faults += [404, 0]  # the look-up comes before the other's post, ours after it
    assert register(registry, told, server.url)["registered"] and len(server.held) == 3


def test_two_champions_are_two_versions_of_one_model(server, tmp_path):
    for seed in (0, 1):
        run = make_run(tmp_path / str(seed), registry=str(tmp_path / "registry"), seed=seed)
        register(run["registry"], push(**run), server.url)
    assert [kind for kind, _, _ in server.held].count("registered_model") == 1
    versions = server.of("model_version")
    assert len({version["name"] for version in versions}) == len(versions) == 2


@pytest.mark.fault("the Model Registry answers nonsense when a model is promoted")
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((LOGIN,), "HTTP 302"),
        ((PAGE,), "is no Model Registry"),
        ((OTHER,), "gives registered_model 'qwen3.5-0.8b' no id"),
        ((b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nfull",), "HTTP 500 (full)"),
    ],
)
def test_a_failure_costs_nothing_and_is_told(pushed, no_wait, capsys, seen, answers, said):
    registry, told = pushed
    with raw_server(*answers) as (url, _):
        found = register(registry, told, url)
    warning = found["warning"]
    assert said in warning and warning.startswith(f"version {told['version']} is not in the Model Registry: ")
    assert warning.endswith(
        f"`python -m components.push.register --registry {registry} --address {url}` registers it later"
    )
    assert f"warning: {warning}\n" in capsys.readouterr().out
    assert read_champion(open_store(registry))["version"] == told["version"]
    seen(re.sub(r"`.*`", "`...`", warning.replace(url, "URL").replace(told["version"], "VERSION")))


def test_the_step_itself_warns_and_is_not_sent_back_by_it(no_wait, server, tmp_path, capsys):
    """First nothing answers; then its Pod was replaced, and the server is back."""
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    store = open_store(run["registry"])
    lock.take(store, "run-0", 0)
    (tmp_path / "data").mkdir()
    (tmp_path / "decision").write_text("{}")
    places = {"model": run["model"], "candidate": run["evaluation"], "results": run["results"]}
    places |= {name: tmp_path / name for name in ("data", "decision", "pushed")}
    given = {name: run[name] for name in ("registry", "run_id", "recipe", "fingerprint")} | {"plan": run["plan"].text()}
    given |= {name: SimpleNamespace(path=str(path), uri=str(path)) for name, path in places.items()}
    recipe = from_json(Recipe, run["recipe"])
    given["recipe"] = to_json(replace(recipe, push=replace(recipe.push, data=False)))

    def step(address):
        component.push.python_func(
            **given, settings=to_json(replace(run["settings"], model_registry=address, data=False))
        )
        return conclude(store, "run-0", state="COMPLETE", ended=0.0, failure=None)

    dead = step("http://127.0.0.1:9")
    assert dead.ending == "promoted" and not server.held
    assert [told.partition(" (")[0] for told in dead.warnings] == [
        f"version {dead.version} is not in the Model Registry: the Model Registry http://127.0.0.1:9 does not answer"
    ]
    capsys.readouterr()
    report(state="COMPLETE", registry=run["registry"], run_id="run-0", settings=recipe.notify)
    assert f"warning: {dead.warnings[0]}\n" in capsys.readouterr().out
    again = step(server.url)
    assert (again.ending, again.version, again.warnings) == ("promoted", dead.version, []) and len(server.held) == 3


def test_without_an_address_nothing_is_asked(pushed):
    assert register(*pushed, "") == {}


def test_a_release_in_a_bucket_has_the_address_that_the_dashboard_reads(monkeypatch, server, pushed):
    registry, told = pushed
    monkeypatch.setenv("S3_ENDPOINT", "http://minio-service.kubeflow:9000")
    register(registry, told | {"location": "s3://mlpipeline/registry/tiny/models/v1"}, server.url)
    (artifact,) = server.of("model_artifact")
    server_part = "endpoint=http%3A%2F%2Fminio-service.kubeflow%3A9000"
    assert artifact["uri"] == f"s3://mlpipeline/registry/tiny/models/v1?{server_part}"
    server.held.clear()
    elsewhere = "https://s3.example"  # of a shell that reaches the bucket by another way than Pods do
    register_version(open_store(registry), told | {"location": "s3://b/models/v1"}, server.url, elsewhere)
    assert server.of("model_artifact")[0]["uri"] == "s3://b/models/v1?endpoint=https%3A%2F%2Fs3.example"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "wants a token, and MODEL_REGISTRY_TOKEN is not set (HTTP 401)"),
        ("old-token", "refuses MODEL_REGISTRY_TOKEN"),
    ],
)
def test_a_token_is_asked_for_by_its_name_and_never_told(monkeypatch, pushed, token, said):
    monkeypatch.setenv("MODEL_REGISTRY_TOKEN", token)
    with ModelRegistryServer(token="secret-token") as server:
        warning = register(*pushed, server.url)["warning"]
        assert said in warning and "old-token" not in warning
        monkeypatch.setenv("MODEL_REGISTRY_TOKEN", "secret-token\n")  # as of a file
        assert register(*pushed, server.url)["registered"]


def test_the_server_of_these_tests_refuses_what_the_api_does(server):
    """Else it would prove nothing."""
    registry = ModelRegistry(server.url)
    untyped = {"double_value": "1", "metadataType": "MetadataDoubleValue"}
    bad = (
        {"owner": 1},
        {"no_such_field": ""},
        {"state": "DEAD"},
        *({"customProperties": {"a": a}} for a in (1, untyped)),
    )
    for body in bad:
        with pytest.raises(ValueError, match="HTTP 400"):
            registry.ensure("registered_model", "m", body)
    with pytest.raises(ValueError, match="HTTP 400"):
        registry.ensure("registered_model", "é", {})
    with pytest.raises(ValueError, match="HTTP 400"):
        registry.ensure("model_version", "v1", {})
    assert not server.held


def test_the_champion_can_be_registered_by_hand(server, pushed):
    registry, told = pushed
    command = [sys.executable, "-m", "components.push.register", "--registry", registry, "--address", server.url]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.endswith(f"registered: qwen3.5-0.8b {told['version']}\n") and len(server.held) == 3
    empty = subprocess.run([*command[:4], registry + "-none", *command[5:]], capture_output=True, text=True)
    assert empty.returncode == 2 and "has no champion; promote a model first" in empty.stderr
