"""The runs of a study, one after another: a failed one is named, a killed study goes on, and parts are shared."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

import pipeline
from components.lib import local
from components.lib.files import write_text
from components.lib.place import SHARED_VARIABLE, once
from components.lib.recipe.paths import absolute
from components.lib.recipe.settings import replace as changed
from components.lib.study import declared, runs
from tests.lib.study.test_results import leave


@pytest.fixture
def started(monkeypatch):
    """The runs that were started, in place of `pipeline.py run`; `fate` says how those of a name end."""
    found, fate = [], {}

    def run(recipe, *, output, runner, build, page, study):
        seed, variant = output.name, output.parent.name
        found.append((recipe, output, build))
        status = fate.get(f"{variant}, seed {seed}", 0)
        if isinstance(status, Exception):
            raise status
        if not status and variant != study.name:
            leave(runs.Run(variant, recipe.seed, recipe, output), 100)
        return status

    monkeypatch.setattr(local, "run", run)
    return found, fate


def test_a_failed_run_is_named_and_the_rest_goes_on(started, tmp_path, capsys):
    found, fate = started
    fate |= {"with-form, seed 1": 1, "right-only, seed 0": ValueError("no room")}
    study = declared.load("rewards")
    assert runs.run_all(study, tmp_path, "subprocess", pipeline.run_here) == 1 and len(found) == 6
    told = capsys.readouterr().out
    assert "right-only, seed 0: no room" in told
    assert "FAILED: right-only, seed 0\n" in told and "FAILED: with-form, seed 1\n" in told
    assert "run 1 of 6: with-form, seed 0; left: about" in told
    fate.clear()
    assert runs.run_all(study, tmp_path, "subprocess", pipeline.run_here) == 0 and len(found) == 8, (
        "only those two again"
    )


def test_a_signal_ends_the_study_and_it_goes_on_there(started, tmp_path, capsys):
    found, fate = started
    fate["with-form, seed 1"] = 143
    study = declared.load("rewards")
    assert runs.run_all(study, tmp_path, "subprocess", pipeline.run_here) == 143 and len(found) == 3
    assert "the same command goes on with with-form, seed 1" in capsys.readouterr().out
    fate.clear()
    runs.run_all(study, tmp_path, "subprocess", pipeline.run_here)
    assert [output.name for _, output, _ in found[3:]] == ["1", "1", "2", "2"]


def test_each_run_has_a_registry_of_its_own_and_all_have_the_data_in_common(started, tmp_path):
    found, _ = started
    runs.run_all(declared.load("rewards"), tmp_path, "subprocess", pipeline.run_here)
    recipe, output, build = found[0]
    assert recipe.registry == f"{tmp_path}/registry/studies/rewards/with-form/0"
    assert output == tmp_path / "runs" / "with-form" / "0"
    assert len({recipe.registry for recipe, _, _ in found}) == 6
    assert {recipe.checkpoints for recipe, _, _ in found} == {str(tmp_path / "checkpoints")}
    assert {recipe.data_seed for recipe, _, _ in found} == {0} and {recipe.seed for recipe, _, _ in found} == {0, 1, 2}
    tasks = build(recipe, "a-run").pipeline_spec.root.dag.tasks
    inner = {name for dag in build(recipe, "a-run").pipeline_spec.components.values() for name in dag.dag.tasks}
    assert "compare" in inner and not {"gate", "push"} & (inner | set(tasks))


def test_a_run_with_a_path_that_was_given_from_here_is_found_again(started, tmp_path, monkeypatch):
    """Runs keep absolute paths."""
    monkeypatch.chdir(tmp_path)
    study = declared.load("rewards", "", ["model=./mine"])
    run = runs.planned(study, tmp_path)[0]
    assert run.recipe.model == str(tmp_path / "mine")
    leave(runs.Run(run.variant, run.seed, absolute(run.recipe), run.output), 100)
    assert run.measured()


def test_the_best_variant_is_judged_if_asked_for(started, tmp_path):
    found, _ = started
    study = replace(declared.load("rewards"), push_best=True)
    runs.promote(study, "right-only", tmp_path, "subprocess", pipeline.run_here)
    recipe, output, build = found[0]
    assert (recipe.registry, output) == (str(tmp_path / "registry"), tmp_path / "best")
    assert build.keywords == {"judged": True}, "with gate and push"
    assert recipe.evaluate == study.recipes["right-only"].evaluate and recipe.seed == 0


def test_one_study_at_a_time_has_an_output(tmp_path):
    from components.lib import ending

    with ending.locked(tmp_path / runs.LOCK, 0), pytest.raises(ValueError, match="is in use by another `study`"):
        runs.run_all(declared.load("rewards"), tmp_path, "subprocess", pipeline.run_here)


def test_a_base_must_be_one(tmp_path):
    study = declared.load("sft-or-not")
    study.recipes["grpo"] = changed(study.recipes["grpo"], model="a/b")
    with pytest.raises(ValueError, match="base is not one: variants differ in model"):
        runs.planned(study, tmp_path)


def test_what_was_done_once_is_linked_and_counted(tmp_path, monkeypatch, capsys):
    made = []

    def make(out: Path):
        made.append(out.name)
        write_text(out / "items.jsonl", "{}\n")
        return {"accuracy": 0.5}

    for out in (tmp_path / "alone", tmp_path / "again"):
        once("evaluate", dict, out, lambda out=out: make(out))
    monkeypatch.setenv(SHARED_VARIABLE, str(tmp_path / "shared"))
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        out = tmp_path / name
        assert once("evaluate", lambda seed=seed: {"seed": seed}, out, lambda out=out: make(out)) == {"accuracy": 0.5}
    assert made == ["alone", "again", "one", "other"] and "done this very work" in capsys.readouterr().out
    assert os.path.samefile(tmp_path / "one" / "items.jsonl", tmp_path / "two" / "items.jsonl")
