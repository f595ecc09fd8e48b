"""What lies on this machine alone is refused by compile, submit and schedule; of a bad registry compile only warns."""

import json
import re

import pytest
import yaml

import pipeline
from components.lib.cluster import api
from components.lib.cluster.placement import for_cluster
from components.lib.recipe import recipes

ENDPOINT = ["--endpoint", "http://127.0.0.1:9"]
VERBS = [["compile"], ["submit", *ENDPOINT], ["schedule", "create", "x", "--cron", "0 3 * * 0", *ENDPOINT]]
BUCKET = {"registry": "s3://b/p"}
# Settings of a recipe that no Pod could read -> what is said; HERE is the working directory, which has models/olmo.
REFUSED = [
    (
        {"model": "models/olmo"},
        "model HERE/models/olmo lies where not every step's Pod mounts it; upload it to the Hub",
    ),
    ({"model": "./models/olmo"}, "model HERE/models/olmo lies where"),
    ({"model": "~/olmo"}, "model .*/olmo lies where"),
    ({"model": "/checkpoints/olmo"}, "put it on the claim grpo-cache and name it below /cache"),  # standardize has none
    ({"model": "/cache/../models/olmo"}, "lies where"),
    ({"model": "/cached/olmo"}, "lies where"),
    ({"model": "gpt2"}, "model 'gpt2' is neither a directory here nor a Hub id, nor 'tiny': write owner/name"),
    ({"sources": [{"path": "rows.jsonl", "name": "mine"}]}, "source 'mine': HERE/rows.jsonl lies where .* to s3:// or"),
    ({"sources": [{"path": "data/mine"}]}, "HERE/data/mine lies where"),  # a folder that is called as a repository
    ({"evaluation": [{"path": "/data/rows.jsonl"}]}, "/data/rows.jsonl lies where"),
    ({"checkpoints": "out/kept"}, "checkpoints HERE/out/kept lies on no volume .*; name a path below /cache or /check"),
    ({"model": "/cache/olmo", "cluster_cache_claim": ""}, "or put it on a claim that cluster_cache_claim names"),
]
# A registry that no run on a cluster can have -> what is said of it.
REGISTRIES = [
    ("out/registry", "registry HERE/out/registry lies where .*; write s3://BUCKET/PREFIX, or"),
    ("b/p", "registry HERE/b/p lies where .*; write s3://BUCKET/PREFIX, or"),
    ("minio://b/p", "registry minio://b/p is no s3:// address; write s3://BUCKET/PREFIX"),
    ("", "registry is empty; add --set registry=s3://BUCKET/PREFIX"),
]
TAKEN = [
    {"model": "/cache/olmo"}, {"model": "lab/olmo"}, {"model": "tiny"}, {"registry": "/cache/registry"},
    {"registry": ""}, {"checkpoints": "/checkpoints/mine"},
    {"sources": [{"path": "/cache/rows.jsonl"}, {"path": "s3://b/rows.jsonl"}, {"path": "lab/math"}]},
    {"sources": [{"path": "lab/math", "answers": "python:own.py"}]},
    {"model": "lab/olmo", "cluster_cache_claim": ""},
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    for name in ("models/olmo", "data/mine"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "own.py").write_text("def check(completion, row):\n    return True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRPO_IMAGE_TAG", "a-build")
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    """Nobody may be asked for anything."""
    monkeypatch.setattr(api, "health", lambda endpoint: pytest.fail("the network was asked"))


def changes(settings):
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}


def given(settings):
    return [word for name, value in changes(settings).items() for word in ("--set", f"{name}={value}")]


@pytest.mark.parametrize(("settings", "said"), REFUSED)
def test_what_no_pod_can_read_is_refused(settings, said, here):
    with pytest.raises(ValueError, match=said.replace("HERE", re.escape(str(here)))) as error:
        for_cluster(recipes.override(recipes.TINY, changes(BUCKET | settings)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_each_verb_refuses_it_before_the_network_is_asked(verb, here, offline, capsys):
    assert pipeline.main([*verb, *given(BUCKET | {"model": "models/olmo"})]) == 2
    said = capsys.readouterr().err
    assert f"model {here}/models/olmo lies where" in said and said.count("\n") == 1
    assert not list(here.glob("*.yaml"))


@pytest.mark.parametrize("verb", VERBS[1:], ids=lambda verb: verb[0])
def test_a_server_that_is_away_is_said_before_the_pipeline_is_built(verb, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "build", lambda *given: pytest.fail("the pipeline was built"))
    assert pipeline.main([*verb, *given(BUCKET)]) == 2
    assert "Kubeflow Pipelines does not answer at http://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize("settings", TAKEN)
def test_what_a_pod_can_read_is_taken(settings):
    recipe = recipes.override(recipes.TINY, changes(BUCKET | settings))
    assert for_cluster(recipe).model == recipe.model


@pytest.mark.parametrize(("registry", "said"), REGISTRIES)
def test_compile_warns_of_a_registry_that_is_none_since_it_is_a_run_parameter(registry, said, here, capsys):
    assert pipeline.main(["compile", *given({"registry": registry})]) == 0
    told = capsys.readouterr().err
    assert (
        re.match(f"pipeline.py compile: {said.replace('HERE', re.escape(str(here)))}", told) and told.count("\n") == 1
    )
    assert told.endswith("; or give every run its own by that parameter\n")
    found = next(yaml.safe_load_all((here / "tiny.yaml").read_text()))["root"]["inputDefinitions"]["parameters"]
    assert found["registry"]["defaultValue"] == (
        registry if "://" in registry or not registry else f"{here}/{registry}"
    )


@pytest.mark.parametrize("registry", ["s3://b/p", "/cache/registry"])
def test_compile_says_nothing_of_a_registry_that_every_step_has(registry, here, capsys):
    assert pipeline.main(["compile", *given({"registry": registry})]) == 0 and not capsys.readouterr().err


@pytest.mark.parametrize(("registry", "said"), REGISTRIES)
@pytest.mark.parametrize("verb", VERBS[1:], ids=lambda verb: verb[0])
def test_submit_and_schedule_refuse_it_before_the_network_is_asked(verb, registry, said, here, offline, capsys):
    assert pipeline.main([*verb, *given({"registry": registry})]) == 2
    told = capsys.readouterr().err
    assert re.search(said.replace("HERE", re.escape(str(here))), told) and told.count("\n") == 1


def test_a_path_below_a_claim_is_what_the_run_gets(here, monkeypatch):
    """Relative ones are meant from here: as they stand they would be another place, or a stranger's repository."""
    recipe = recipes.override(recipes.TINY, changes(BUCKET | {"model": "/cache/olmo"}))
    assert api.arguments_of(recipe)["model"] == "/cache/olmo"
