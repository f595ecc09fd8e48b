"""Preflight: bad input is one clear error, and a run happens only when something has changed."""

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest

from components.lib.files import read_json
from components.lib.model.files import model_directory
from components.lib.recipe import checkers, recipes
from components.lib.recipe.schema import Recipe, Source
from components.lib.recipe.settings import from_json, replace, to_json
from components.lib.registry import lock
from components.lib.registry.outcome import inputs_of, read_outcomes, write_outcome
from components.lib.registry.plan import Plan
from components.lib.registry.record import iso
from components.lib.registry.store import open_store
from components.preflight import screening
from components.preflight.component import preflight
from components.preflight.preflight import (
    OUTPUTS,
    check_inputs,
    check_names,
    check_run,
    fingerprint_of,
    resolve,
    run_preflight,
)
from tests.fixtures.outcomes import outcome
from tests.fixtures.raw_server import DONE, raw_server
from tests.fixtures.rows import write


def parameters(place, **changes):
    values = {name: recipes.value(recipes.TINY, name) for name in recipes.PARAMETERS}
    return values | {"registry": str(place)} | changes


def test_a_first_run_goes_on_with_resolved_revisions(tmp_path):
    checked = check_run(to_json(recipes.TINY), parameters(tmp_path, seed=7))
    assert checked.changed and checked.reason == "there is no champion yet"
    assert checked.recipe.seed == checked.plan.seed == 7
    assert all(s.revision.startswith("sha256:") for s in (*checked.plan.sources, *checked.plan.evaluation))
    assert Plan.read(checked.plan.text()) == checked.plan


def test_nothing_changed_ends_the_run_and_always_does_not(tmp_path):
    first = check_run(to_json(recipes.TINY), parameters(tmp_path))
    open_store(str(tmp_path)).write_json("champion.json", {"version": "v1", "fingerprint": first.fingerprint})
    assert not check_run(to_json(recipes.TINY), parameters(tmp_path)).changed
    assert check_run(to_json(recipes.TINY), parameters(tmp_path, always=True)).changed
    assert check_run(to_json(recipes.TINY), parameters(tmp_path, grpo_beta=0.1)).changed


@pytest.mark.fault("a model that is too large for this machine")
def test_what_this_machine_cannot_train_is_refused_before_anything_runs(tmp_path, monkeypatch, seen):
    """Where the run itself is a process of this machine, and without a GPU."""
    config = tmp_path / "model" / "config.json"
    shutil.copytree(model_directory("tiny", "main"), config.parent)
    config.write_text(json.dumps(read_json(config) | {"intermediate_size": 2**28}))
    monkeypatch.setenv("PATH", str(tmp_path))
    given = parameters(tmp_path / "registry", model=str(config.parent))
    assert check_run(to_json(recipes.TINY), given).changed, "a step's Pod says nothing of the machine that trains"
    monkeypatch.setenv(lock.OWNER_VARIABLE, "this machine")
    with pytest.raises(ValueError, match=r"sft needs about \d+\.\d GiB of memory and can have") as error:
        check_run(to_json(recipes.TINY), given)
    seen(str(error.value))


def test_a_forced_promotion_is_not_trained_again_without_force(tmp_path):
    first = check_run(to_json(recipes.TINY), parameters(tmp_path, gate_force=True, push_private=False))
    open_store(str(tmp_path)).write_json("champion.json", {"version": "v1", "fingerprint": first.fingerprint})
    for changes in ({}, {"push_private": True}, {"gate_force": True}):
        assert not check_run(to_json(recipes.TINY), parameters(tmp_path, **changes)).changed


def test_what_was_rejected_is_not_trained_again(tmp_path):
    """Unless the champion is another one by now, or the run is asked for."""
    store = open_store(str(tmp_path))
    store.write_json("champion.json", {"version": "v1", "fingerprint": "other"})
    first = check_run(to_json(recipes.TINY), parameters(tmp_path))
    assert first.changed and first.champion == "v1"
    write_outcome(store, outcome("week-02", fingerprint=first.fingerprint, champion="v1"))
    second = check_run(to_json(recipes.TINY), parameters(tmp_path))
    assert not second.changed
    assert second.reason == "nothing has changed since run week-02, which was rejected: no run is needed"
    assert check_run(to_json(recipes.TINY), parameters(tmp_path, always=True)).changed
    assert check_run(to_json(recipes.TINY), parameters(tmp_path, gate_force=True)).changed, "by force it is promoted"
    store.write_json("champion.json", {"version": "v0", "fingerprint": "another"})
    assert check_run(to_json(recipes.TINY), parameters(tmp_path)).changed


def test_a_run_that_failed_is_tried_again(tmp_path):
    first = check_run(to_json(recipes.TINY), parameters(tmp_path))
    write_outcome(open_store(str(tmp_path)), outcome("week-01", ending="failed", fingerprint=first.fingerprint))
    assert check_run(to_json(recipes.TINY), parameters(tmp_path)).changed


def test_inputs_whose_artifacts_were_deleted_are_made_anew_and_are_the_same_inputs(tmp_path):
    """KFP's cache knows a step by its arguments, of which the plan is one; nothing else may change by it."""
    first = check_run(to_json(recipes.TINY), parameters(tmp_path))
    store = open_store(str(tmp_path))
    write_outcome(store, outcome("old", inputs=inputs_of(first.plan), cleaned=True, champion="v0"))
    write_outcome(store, outcome("else", inputs="else", cleaned=True))
    write_outcome(store, outcome("idle", inputs=inputs_of(first.plan), cleaned=True, ending="no-change"))
    second = check_run(to_json(recipes.TINY), parameters(tmp_path))
    assert (first.plan.generation, second.plan.generation) == (0, 1) and first.plan.text() != second.plan.text()
    assert first.fingerprint == second.fingerprint and inputs_of(first.plan) == inputs_of(second.plan)


def given(tmp_path, run_id, **changes):
    """What the component hands to run_preflight."""
    outputs = {name: tmp_path / "outputs" / run_id / name for name in OUTPUTS}
    recipe = to_json(replace(recipes.TINY, keep=replace(recipes.TINY.keep, runs=1)))
    set_here = parameters(tmp_path / "registry", **changes)
    return {"run_id": run_id, "recipe": recipe, "parameters": set_here, "outputs": outputs, "artifact": ""}


def test_the_component_takes_every_parameter_and_writes_every_output():
    spec = preflight.component_spec
    assert set(spec.inputs) == {"run_id", "recipe", *recipes.PARAMETERS}
    assert set(spec.outputs) == {"Output", *OUTPUTS}


def test_a_run_takes_the_registry_tidies_it_and_tells_every_step_its_settings(tmp_path, capsys):
    store = open_store(str(tmp_path / "registry"))
    for number in (1, 2):
        write_outcome(store, outcome(f"week-0{number}", started=f"2026-01-0{number}T00:00:00+00:00"))
    plan = run_preflight(**given(tmp_path, "r1", seed=5))
    assert Plan.read(plan).seed == 5
    lock.check(store, "r1")
    assert "deleted: records and artifacts of run week-01" in capsys.readouterr().out
    outputs = tmp_path / "outputs" / "r1"
    assert from_json(Recipe, (outputs / "merged").read_text()).seed == 5 and (outputs / "champion").read_text() == ""
    assert (outputs / "grpo").read_text() == to_json(recipes.TINY.grpo)
    details = store.read_json("runs/r1/record/preflight.json")["details"]
    assert details["plan"] == plan and details["fingerprint"] == (outputs / "fingerprint").read_text()


def test_a_second_run_ends_before_it_changes_anything(tmp_path):
    run_preflight(**given(tmp_path, "r1"))
    with pytest.raises(ValueError, match="is in use by run r1 since"):
        run_preflight(**given(tmp_path, "r2"))
    store = open_store(str(tmp_path / "registry"))
    assert store.read_json("runs/r2/record/preflight.json")["outcome"] == "failed"
    lock.check(store, "r1")
    assert not (tmp_path / "outputs" / "r2").exists()


def test_a_run_that_died_with_its_exit_handler_gets_its_place_in_the_history(tmp_path, capsys, monkeypatch):
    store = open_store(str(tmp_path / "registry"))
    lock.take(store, "dead", 3600)
    long_ago = iso(time.time() - 7200)
    store.write_json("lock/00000001.json", lock.current(store).value | {"taken": long_ago})
    record = {"step": "grpo", "outcome": "running", "started": long_ago, "seen": long_ago, "log": ["step 7/60"]}
    store.write_json("runs/dead/record/grpo.json", record)
    with raw_server(DONE) as (url, received):
        monkeypatch.setenv("NOTIFY_WEBHOOK", url)
        run_preflight(**given(tmp_path, "next"))
    assert len(received) == 1 and b"POST / " in received[0], "the dead run is told too"
    assert "lock is taken over from run dead: no sign of life for 7,2" in capsys.readouterr().out
    (dead,) = read_outcomes(store)
    assert (dead.run_id, dead.ending, dead.failed_step, dead.log) == ("dead", "failed", "grpo", ["step 7/60"])
    assert dead.started == dead.ended == long_ago


def test_a_push_by_hand_that_died_is_no_run(tmp_path):
    store = open_store(str(tmp_path / "registry"))
    lock.take(store, "r1-push-0a1b2c", 3600)
    store.write_json("lock/00000001.json", lock.current(store).value | {"taken": iso(time.time() - 1e6)})
    run_preflight(**given(tmp_path, "next"))
    assert read_outcomes(store) == []


def test_new_rows_in_a_source_change_the_fingerprint(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "1+1?", "answer": "#### 2"}) + "\n")
    recipe = replace(recipes.TINY, sources=(Source(path=str(rows), adapter="gsm8k"),))
    before = fingerprint_of(recipe, resolve(recipe))
    assert before == fingerprint_of(recipe, resolve(recipe))
    with rows.open("a") as file:
        file.write(json.dumps({"question": "1+2?", "answer": "#### 3"}) + "\n")
    assert before != fingerprint_of(recipe, resolve(recipe))


def with_checker(folder, code):
    """The tiny recipe whose problems are judged by a checker in `folder`."""
    folder.mkdir()
    (folder / "own.py").write_text(code)
    *others, problems = recipes.TINY.sources
    return replace(recipes.TINY, sources=(*others, replace(problems, answers=f"python:{folder / 'own.py'}")))


def test_the_code_of_a_checker_decides_and_goes_with_the_plan_alone(tmp_path):
    code = "def check(completion, row):\n    return True\n"
    recipe, moved, other = (
        check_run(to_json(with_checker(tmp_path / name, text)), parameters(tmp_path / "registry"))
        for name, text in (("here", code), ("elsewhere", code), ("changed", code + "\n"))
    )
    assert recipe.fingerprint == moved.fingerprint != other.fingerprint
    assert inputs_of(recipe.plan) == inputs_of(recipe.plan.hashed()) != inputs_of(other.plan)
    assert recipe.plan.sources[-1].answers == "python:own.py" and set(recipe.plan.checkers) == {"python:own.py"}
    run = given(tmp_path, "r1")
    with_code = to_json(checkers.with_code(with_checker(tmp_path / "own", code)))
    plan = Plan.read(run_preflight(**run | {"recipe": with_code}))
    assert checkers.unpacked(plan.checkers["python:own.py"]) == code
    assert from_json(Recipe, run["outputs"]["merged"].read_text()).checkers == {}
    details = open_store(str(tmp_path / "registry")).read_json("runs/r1/record/preflight.json")["details"]
    digest = hashlib.sha256(code.encode()).hexdigest()
    assert Plan.read(details["plan"]).checkers == {"python:own.py": f"sha256:{digest}"}


@pytest.mark.fault("a checker of the user's own does not load")
def test_a_checker_that_does_not_load_is_refused(tmp_path, capsys, seen):
    recipe = with_checker(tmp_path / "own", "import no_such_module\n\ndef check(completion, row):\n    return True\n")
    with pytest.raises(
        ValueError, match=r"checker own\.py does not load: ModuleNotFoundError: .*'no_such_module'"
    ) as error:
        check_run(to_json(recipe), parameters(tmp_path / "registry"))
    assert 'File "own.py", line 1' in capsys.readouterr().out
    seen(str(error.value))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"registry": ""}, "registry is empty"),
        ({"model": "./nowhere"}, "neither a directory"),
        ({"grpo_generations": 1}, "generations: 1 is too small"),
        ({"gate_margin": -0.01}, "margin: -0.01 is too small"),
        ({"push_hub_repo": "me/model"}, "HF_TOKEN is not set"),
    ],
)
def test_bad_parameters_are_named(tmp_path, monkeypatch, changes, said):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ValueError, match=said):
        check_run(to_json(recipes.TINY), parameters(tmp_path, **changes))


def test_a_missing_source_is_named(tmp_path):
    recipe = replace(recipes.TINY, sources=(Source(path="rows/none.jsonl", adapter="gsm8k"),))
    with pytest.raises(ValueError, match=r"source 'rows/none.jsonl': .*none.jsonl does not exist, correct its path"):
        check_run(to_json(recipe), parameters(tmp_path))


def test_a_registry_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file"):
        check_run(to_json(recipes.TINY), parameters(tmp_path / "file"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"a": 1}], "none of the first 1 rows has a schema that is known; they have a"),
        ([{"instruction": "How?", "reasoning": "So.", "response": "It is 7."}], "no source of problems"),
        ([{"query": "How?", "response": "The answer is: 7"}], ""),
        ([{"question": "How?", "reasoning": "So.", "gold": 7}], ""),
    ],
)
def test_what_the_rows_of_a_local_file_are_is_seen_before_anything_starts(tmp_path, rows, said):
    source = Source(path=write(tmp_path / "rows.jsonl", rows))
    recipe = replace(recipes.TINY, sources=(source,))
    if said:
        with pytest.raises(ValueError, match=said):
            resolve(recipe)
    else:
        assert replace(resolve(recipe).sources[0], revision="main") == source


def test_sources_without_problems_are_refused(tmp_path):
    rows = Path(tmp_path / "chat.jsonl")
    rows.write_text("{}\n")
    recipe = replace(recipes.TINY, sources=(Source(path=str(rows), adapter="chat"),))
    with pytest.raises(ValueError, match="no source of problems"):
        check_run(to_json(recipe), parameters(tmp_path))


def test_vllm_cannot_begin_with_a_vision_language_checkpoint(tmp_path, monkeypatch):
    """Its weights have other names there; after SFT the model is a text model."""
    model = tmp_path / "model"
    shutil.copytree(model_directory("tiny", ""), model)
    config = read_json(model / "config.json")
    (model / "config.json").write_text(
        json.dumps({"model_type": "qwen3_5", "vision_config": {}, "text_config": config})
    )
    grpo = replace(recipes.TINY.grpo, rollouts="vllm")
    recipe = replace(recipes.TINY, model=str(model), stages=("grpo",), grpo=grpo)
    with pytest.raises(ValueError, match="vision-language checkpoint .* put sft before it in stages"):
        check_names(recipe, resolve(recipe))
    check_names(replace(recipe, stages=("sft", "grpo")), resolve(recipe))


def test_the_cost_of_screening_is_told_before_the_run(tmp_path, capsys):
    rows = [{"question": f"How much is {n} and 1?", "answer": f"It is {n + 1}.\n#### {n + 1}"} for n in range(250)]
    here = Source(name="here", path=str(write(tmp_path / "here.jsonl", rows)), adapter="gsm8k")
    grpo = replace(recipes.TINY.grpo, screen_samples=4, max_steps=20)
    recipe = replace(recipes.TINY, sources=(replace(here, weight=0.8), replace(here, name="capped", cap=50)), grpo=grpo)
    plan = resolve(recipe)
    told = screening.cost(recipe, plan)
    assert "230 problems at most, 4 completions each: 920 beside the 1,280 of the training, 42% of both" in told
    check_inputs(recipe)
    assert told in capsys.readouterr().out
    hub = Source(name="hub", path="openai/gsm8k", adapter="gsm8k")
    assert "for each 1,000 problems" in screening.cost(recipe, replace(plan, sources=(*plan.sources, hub)))
    traces = replace(hub, adapter="chat", use="sft")
    bounded = screening.cost(recipe, replace(plan, sources=(*plan.sources, traces, replace(hub, cap=100))))
    assert "322 problems at most" in bounded
    assert not screening.cost(replace(recipe, stages=("sft",)), plan)
    assert not screening.cost(recipes.TINY, plan), "no screening, no cost"
