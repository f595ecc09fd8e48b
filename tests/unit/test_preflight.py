"""Preflight: bad input is one clear error, and a run happens only when something has changed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components import recipes
from components.plan import Plan
from components.preflight.preflight import check_run, fingerprint_of, resolve
from components.schema import Source
from components.settings import to_json
from components.store import open_store


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


def test_new_rows_in_a_source_change_the_fingerprint(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "1+1?", "answer": "#### 2"}) + "\n")
    recipe = replace(recipes.TINY, sources=(Source(path=str(rows), adapter="gsm8k"),))
    before = fingerprint_of(recipe, resolve(recipe))
    assert before == fingerprint_of(recipe, resolve(recipe))
    with rows.open("a") as file:
        file.write(json.dumps({"question": "1+2?", "answer": "#### 3"}) + "\n")
    assert before != fingerprint_of(recipe, resolve(recipe))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"registry": ""}, "registry is empty"),
        ({"model": "./nowhere"}, "neither a directory"),
        ({"grpo_generations": 1}, "generations: 1 is too small"),
        ({"push_hub_repo": "me/model"}, "HF_TOKEN is not set"),
    ],
)
def test_bad_parameters_are_named(tmp_path, monkeypatch, changes, said):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ValueError, match=said):
        check_run(to_json(recipes.TINY), parameters(tmp_path, **changes))


def test_a_missing_source_is_named(tmp_path):
    recipe = replace(recipes.TINY, sources=(Source(path="rows/none.jsonl", adapter="gsm8k"),))
    with pytest.raises(ValueError, match=r"source 'rows/none.jsonl': .*none.jsonl does not exist, mend its path"):
        check_run(to_json(recipe), parameters(tmp_path))


def test_a_registry_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file"):
        check_run(to_json(recipes.TINY), parameters(tmp_path / "file"))


def test_sources_without_problems_are_refused(tmp_path):
    rows = Path(tmp_path / "chat.jsonl")
    rows.write_text("{}\n")
    recipe = replace(recipes.TINY, sources=(Source(path=str(rows), adapter="chat"),))
    with pytest.raises(ValueError, match="no source of problems"):
        check_run(to_json(recipe), parameters(tmp_path))
