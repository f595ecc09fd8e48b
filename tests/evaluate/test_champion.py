"""The champion, measured anew where its kept answers cannot be compared."""

import subprocess
import sys

import pytest

from components.evaluate import evaluate as stage
from components.evaluate.champion import measure_champion
from components.gate.gate import run_gate
from components.lib.files import read_jsonl, sha256, write_jsonl
from components.lib.generation import prompts
from components.lib.recipe import recipes
from components.lib.recipe.settings import replace
from components.lib.registry.store import open_store
from tests.evaluate.runs import SETTINGS, problem, run


@pytest.fixture
def registry(data, tmp_path):
    """A registry whose champion is the tiny model, its kept answers being to the gate problems of `data`."""
    store = open_store(str(tmp_path / "registry"))
    store.put_tree("models/v1", stage.model_directory("tiny", "main"))
    run(data, tmp_path / "kept")
    store.put_file("kept.jsonl", tmp_path / "kept" / "items.jsonl", sha256(tmp_path / "kept" / "items.jsonl"))
    store.write_json("champion.json", {"version": "v1", "items": "kept.jsonl"})
    return store


def measured(store, data, candidate, settings=SETTINGS, version="v1"):
    return measure_champion(
        version=version, registry=store.url(""), candidate=candidate, data=data, checkpoints=None, seed=0,
        settings=settings,
    )  # fmt: skip


def test_a_champion_with_the_same_gate_problems_is_not_run_again(data, registry, tmp_path, monkeypatch, capsys):
    run(data, tmp_path / "grpo", checkpoint="grpo")
    from components.lib.generation import backends

    monkeypatch.setattr(backends, "open_backend", None)  # no model is loaded
    assert measured(registry, data, tmp_path / "grpo") == {} and not (tmp_path / "grpo" / "champion").exists()
    assert "champion v1 has answered the same gate problems already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "settings", "why"),
    [
        ("a new problem", {}, "1 problems are in one of them only, such as gate/6"),
        ("a longer limit", {"max_new_tokens": 25}, "6 of 6 ways of sampling differ"),
        ("another system prompt", {}, "6 of 6 prompts differ"),
    ],
)
def test_a_champion_with_other_problems_prompts_or_sampling_is_measured_anew(
    data, registry, tmp_path, monkeypatch, capsys, change, settings, why
):
    """And the gate then pairs it with the candidate, here the very same model."""
    if change == "a new problem":
        write_jsonl(data / "gate.jsonl", [problem(k, "gate") for k in range(7)])
    if change == "another system prompt":
        monkeypatch.setattr(prompts, "system_prompt", lambda form, kind: "Think, then write #### <number>")
    settings = replace(SETTINGS, **settings)
    run(data, tmp_path / "base", settings)
    run(data, tmp_path / "grpo", settings, checkpoint="grpo")
    numbers = measured(registry, data, tmp_path / "grpo", settings)
    assert f"champion v1 is measured anew: {why}" in capsys.readouterr().out
    asked = [(i["checkpoint"], i["split"]) for i in read_jsonl(tmp_path / "grpo" / "champion" / "items.jsonl")]
    assert asked == [("champion", "gate")] * (7 if change == "a new problem" else 6)
    assert set(numbers) >= {"champion/gate/zero-shot/accuracy"} and "champion/zero-shot/accuracy" not in numbers
    decision = run_gate(
        base=tmp_path / "base", candidate=tmp_path / "grpo", registry=registry.url(""),
        settings=recipes.TINY.gate, decision_out=tmp_path / "decision.json", curves=None,
    )  # fmt: skip
    assert decision.numbers["champion_difference"] == 0.0 and not decision.promote


def test_the_champion_can_be_measured_by_hand(data, registry, tmp_path):
    run(data, tmp_path / "grpo", checkpoint="grpo")
    command = [sys.executable, "-m", "components.evaluate.champion", "--version", "v0", "--registry", registry.url("")]
    command += ["--candidate", str(tmp_path / "grpo"), "--data", str(data), "--seed", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "v0 is not the champion of" in done.stderr


def test_a_champion_that_has_changed_since_preflight_is_named(data, registry, tmp_path):
    with pytest.raises(ValueError, match=r"v0 is not the champion of .*registry any more; run again from preflight"):
        measured(registry, data, tmp_path, version="v0")
