"""The DAG: its parameters are the recipe's, and its wrappers stand alone."""

import ast
import inspect
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from kfp import compiler

import pipeline
from components.lib.recipe import recipes
from components.lib.reporting.wording import label

ROOT = Path(pipeline.__file__).parent
WRAPPERS = sorted(path.parent.name for path in ROOT.glob("components/*/component.py"))


def compiled(recipe, tmp_path):
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline.build(recipe), str(path))
    return next(yaml.safe_load_all(path.read_text()))


def tasks(spec):
    """All tasks of a pipeline spec, groups included, by display name."""
    dags = [spec["root"], *(c for c in spec["components"].values() if "dag" in c)]
    return {t["taskInfo"]["name"]: t for dag in dags for t in dag["dag"]["tasks"].values()}


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda r: r.name)
def test_parameters_are_the_recipes(recipe, tmp_path):
    found = compiled(recipe, tmp_path)["root"]["inputDefinitions"]["parameters"]
    assert sorted(found) == sorted(recipes.PARAMETERS)
    for name, definition in found.items():
        assert definition["defaultValue"] == recipes.value(recipe, name), name


def test_a_printed_recipe_changed_in_two_places_compiles(tmp_path, capsys):
    assert pipeline.main(["recipe", "tiny"]) == 0
    text = (
        capsys.readouterr()
        .out.replace("\nseed: 0\n", "\nseed: 7\n")
        .replace("\n  hub_repo: ''\n", "\n  hub_repo: a/b\n")
    )
    (tmp_path / "mine.yaml").write_text(text)
    assert pipeline.main(["compile", "--recipe", f"{tmp_path}/mine.yaml", "--output", f"{tmp_path}/out.yaml"]) == 0
    found = next(yaml.safe_load_all((tmp_path / "out.yaml").read_text()))["root"]["inputDefinitions"]["parameters"]
    assert (found["seed"]["defaultValue"], found["push_hub_repo"]["defaultValue"]) == (7, "a/b")


def test_the_verb_recipe_tells_differences_and_schema(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("base: tiny\ngrpo: {learning_rate: 2e-6}\n")
    assert pipeline.main(["recipe", "--diff", "tiny", f"{tmp_path}/mine.yaml"]) == 0
    assert capsys.readouterr().out == "grpo_learning_rate: 0.0001 -> 2e-06\n"
    assert pipeline.main(["recipe", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["base"]["type"] == "string"
    assert pipeline.main(["recipe", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("pipeline.py recipe: no recipe 'nothing'; valid: tiny, ")


def test_the_dag_has_every_step(tmp_path):
    names = set(tasks(compiled(recipes.TINY, tmp_path)))
    assert names >= {
        "Preflight", "Standardize", "SFT", "GRPO", "Evaluate base", "Evaluate SFT", "Evaluate GRPO", "Compare",
        "Gate", "Push", "Outcome and report",
    }  # fmt: skip


@pytest.mark.parametrize(("stages", "gone"), [("grpo", "SFT"), ("sft", "GRPO")])
def test_a_stage_can_be_left_out(stages, gone, tmp_path):
    names = set(tasks(compiled(recipes.override(recipes.TINY, {"stages": stages}), tmp_path)))
    assert gone not in names and f"Evaluate {gone}" not in names and {"Gate", "Push", "Compare"} <= names


def test_sampling_is_a_step_only_where_problems_are_asked(tmp_path):
    without = tasks(compiled(recipes.TINY, tmp_path))
    assert "Sample" not in without and "artifacts" not in without["Standardize"]["inputs"]
    found = tasks(compiled(recipes.override(recipes.TINY, {"sample_problems": "200"}), tmp_path))
    assert found["Standardize"]["dependentTasks"] == ["sample"]
    assert found["Standardize"]["inputs"]["artifacts"]["samples"]["taskOutputArtifact"]["producerTask"] == "sample"
    given = found["Sample"]["inputs"]["parameters"]
    assert given["settings"]["componentInputParameter"].endswith("preflight-sample")
    assert given["split"] == found["Standardize"]["inputs"]["parameters"]["settings"]
    assert found["Sample"]["cachingOptions"]["enableCache"]


def test_what_must_not_be_cached_is_not(tmp_path):
    found = tasks(compiled(recipes.TINY, tmp_path))
    cached = {name for name, task in found.items() if task.get("cachingOptions", {}).get("enableCache")}
    assert not cached & {"Preflight", "Gate", "Push"} and {"Standardize", "SFT", "GRPO"} <= cached


@pytest.mark.parametrize(("stages", "last"), [("sft,grpo", "grpo"), ("sft", "sft")])
def test_only_the_candidates_step_may_measure_the_champion(stages, last, tmp_path):
    """Its version is an argument, so that KFP's cache never serves the answers of another champion."""
    found = tasks(compiled(recipes.override(recipes.TINY, {"stages": stages}), tmp_path))
    for checkpoint in ("base", "sft", "grpo"):
        if task := found.get(f"Evaluate {label(checkpoint)}"):
            given = task["inputs"]["parameters"]["champion"]
            if checkpoint == last:
                assert given["componentInputParameter"].endswith("preflight-champion")
            else:
                assert given["runtimeValue"]["constant"] == ""


def test_the_data_and_the_decision_travel_with_the_model(tmp_path):
    found = tasks(compiled(recipes.TINY, tmp_path))
    assert {"model", "candidate", "results", "data", "decision"} == set(found["Push"]["inputs"]["artifacts"])
    assert "data" in found["Compare"]["inputs"]["artifacts"]


def test_an_artifact_is_called_as_no_other_steps(tmp_path):
    """KFP's graph shows an artifact by its name; evaluate has one for each checkpoint, beside whose step it stands."""
    components = compiled(recipes.TINY, tmp_path)["components"].values()
    made = [c.get("outputDefinitions", {}).get("artifacts", {}) for c in components if "executorLabel" in c]
    names = Counter(name for outputs in made for name in outputs)
    assert {"sft_model", "grpo_model", "report", "outcome", "comparison"} < set(names)
    assert {name: count for name, count in names.items() if count > 1} in ({}, {"items": 3})


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_is_self_contained_and_short(name):
    path = ROOT / "components" / name / "component.py"
    function = next(n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef))
    bound = {a.arg for a in function.args.args} | set(dir(__builtins__))
    bound |= set(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))
    for node in ast.walk(function):
        if isinstance(node, ast.ImportFrom | ast.Import):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    body = ast.Module(body=function.body, type_ignores=[])
    used = {n.id for n in ast.walk(body) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert used <= bound, f"{name} uses module globals that KFP does not ship: {used - bound}"
    assert len(inspect.cleandoc(ast.unparse(body)).splitlines()) <= 25


def test_bad_input_is_one_line_and_status_2(capsys):
    assert pipeline.main(["compile", "--set", "nonsense=1"]) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith("pipeline.py compile: --set nonsense=1: no such parameter; valid:") and error.count("\n") == 1
    )


def other_pythons():
    """Interpreters of versions that are not supported, those that are installed here."""
    names = [f"python3.{minor}" for minor in (8, 9, 10, 13, 14)]
    places = [Path(found) for name in names if (found := shutil.which(name))]
    places += sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3"))
    told = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = {}
    for place in places:
        done = subprocess.run([place, "-c", told], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() not in ("3.11", "3.12"):
            found[done.stdout.strip()] = place
    return found


@pytest.mark.fault("another Python")
def test_another_python_is_refused_in_one_line(seen):
    pythons = other_pythons()
    if not pythons:
        pytest.skip("needs a Python that is neither 3.11 nor 3.12: its refusal is not tested with a real one")
    for version, python in pythons.items():
        done = subprocess.run([python, "-B", "pipeline.py", "--help"], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert f"needs Python 3.11 or 3.12, this is {version}" in done.stderr
        seen(done.stderr, fault=f"Python {version}")


@pytest.mark.parametrize(("version", "status"), [((3, 10), 2), ((3, 11), 0), ((3, 12), 0), ((3, 13), 2), ((4, 0), 2)])
def test_only_two_pythons_are_supported(version, status):
    code = f"import sys; sys.version_info = {version}; import components"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == status
