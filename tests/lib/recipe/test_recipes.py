"""Recipes: frozen, complete, and reachable by flat names."""

import json

import pytest
from pydantic import ValidationError

from components.lib.recipe import recipes, selection
from components.lib.recipe.recipes import override
from components.lib.recipe.schema import Recipe, Source
from components.lib.recipe.settings import from_json, to_json


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda r: r.name)
def test_a_recipe_is_frozen_and_survives_json(recipe):
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 1
    assert from_json(Recipe, to_json(recipe)) == recipe


def test_set_reaches_every_field():
    for flat_name in recipes.flat_fields():
        value = recipes.value(recipes.QWEN, flat_name)
        changed = override(recipes.TINY, {flat_name: recipes.shown(value)})
        assert recipes.value(changed, flat_name) == value


def test_settings_classes_have_no_defaults_of_their_own():
    for _, cls, name in recipes.flat_fields().values():
        assert cls.model_fields[name].is_required(), f"{cls.__name__}.{name}"


def test_every_setting_says_what_it_is():
    for cls in {Source, *(cls for _, cls, _ in recipes.flat_fields().values())}:
        for name, field in cls.model_fields.items():
            assert field.description or name in Recipe.model_fields, f"{cls.__name__}.{name}"


def test_parameters_are_few_and_exist():
    assert len(recipes.PARAMETERS) <= 30
    assert set(recipes.PARAMETERS) <= set(recipes.flat_fields())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grpo_lr": "1"}, "--set grpo_lr=1: no such parameter; valid: grpo_"),
        ({"qqqqq": "1"}, r"--set qqqqq=1: no such parameter; valid: \w+, \w+, \w+$"),
        ({"grpo_learning_rate": "x"}, "--set grpo_learning_rate=x: learning_rate: 'x' is not a number"),
        ({"grpo_generations": "1"}, "at least 2"),
        ({"stages": "dpo"}, "one of 'sft', 'grpo'"),
        ({"stages": ""}, "stages is empty"),
        ({"stages": "grpo,sft"}, "in this order"),
        ({"evaluate_protocols": ""}, "evaluate_protocols is empty; name at least one of zero-shot, 8-shot"),
        ({"evaluate_gate_protocols": "8-shot"}, "evaluate_gate_protocols has no zero-shot, by which the gate decides"),
        ({"gate_candidate": "best"}, "chooses by the plateau split, and grpo_plateau_steps=0 never measures it; set"),
        ({"gate_candidate": "best", "stages": "sft"}, "gate_candidate=best chooses among GRPO's weights, and stages"),
        ({"notify_format": "teams"}, "one of 'json', 'slack', 'ntfy'"),
        ({"sft_batch_size": "5", "sft_micro_batch_size": "4"}, "multiple"),
        ({"sample_temperature": "0"}, "--set sample_temperature=0: temperature: 0.0 is too small"),
        ({"sample_problems": "-1"}, "at least 0"),
        ({"evaluation": "gsm9k"}, "--set evaluation=gsm9k: 'gsm9k' is no ready-made .* valid: gsm8k, math-500, aqua"),
        ({"evaluation": '["gsm8k"'}, "is not a list of sources"),
        ({"evaluation": '{"path": "x"}'}, "write a JSON list of objects"),
        ({"sample_problems": "1", "sources": '[{"path": "sampled", "adapter": "gsm8k"}]'}, "is called 'sampled'"),
        ({"system_prompt": "Be brief."}, "does not say ####, so no model would give its answer in the form marker"),
        ({"system_prompt": "End with ####", "form": "boxed"}, "does not say .boxed, so no model would give its answer"),
        ({"system_prompt": "#### {{$.outputs}}"}, "takes for a placeholder of its own"),
        ({"sources": '[{"path": "x.jsonl", "answers": "maths"}]'}, "'maths' is no kind of answer; valid: number, math"),
    ],
)
def test_bad_changes_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        override(recipes.TINY, changes)


@pytest.mark.parametrize(
    "text", ["gsm8k,aqua", " gsm8k , aqua ", '["gsm8k", "aqua"]', '["gsm8k", {"path": "x"}, "aqua"]']
)
def test_evaluation_sources_are_set_by_name(text):
    found = override(recipes.TINY, {"evaluation": text}).evaluation
    assert (found[0], found[-1]) == (recipes.EVALUATIONS["gsm8k"], recipes.EVALUATIONS["aqua"])
    assert override(recipes.TINY, {"evaluation": recipes.shown(found)}).evaluation == found


def test_no_recipe_samples_unless_asked():
    assert [recipe.sample.problems for recipe in recipes.RECIPES.values()] == [0, 0, 0, 0]


def test_unknown_recipe_lists_the_valid_ones():
    with pytest.raises(
        ValueError, match="no recipe 'big'; valid: tiny, smollm2-135m, qwen3.5-0.8b, reference, or the path"
    ):
        selection.load("big")


def test_what_two_recipes_differ_in():
    other = override(recipes.TINY, {"seed": "3", "grpo_learning_rate": "2e-4"})
    assert recipes.differences(recipes.TINY, other) == {"seed": (0, 3), "grpo_learning_rate": (1e-4, 2e-4)}


def test_the_schema_takes_part_of_a_recipe():
    schema = recipes.file_schema()
    assert "required" not in schema and set(schema["properties"]) == {"base", *Recipe.model_fields} - {"checkers"}
    assert schema["$defs"]["Grpo"]["properties"]["generations"]["minimum"] == 2
    assert "required" not in schema["$defs"]["Grpo"] and schema["$defs"]["Source"]["required"] == ["path"]
    assert json.dumps(schema)
