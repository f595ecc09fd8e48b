"""Recipes as files: what a file says is what a run gets, and what is wrong in it is one line with its place."""

import json

import pytest

from components.lib.recipe import recipes, selection
from components.lib.recipe.files import read, write
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import to_json

PROBLEMS = "[{path: rows.jsonl, adapter: gsm8k}, {path: 's3://b/x.jsonl', adapter: chat}, {path: a/b, adapter: chat}]"


def put(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda r: r.name)
def test_a_printed_recipe_reads_back(recipe, tmp_path):
    assert read(put(tmp_path, write(recipe))) == recipe
    assert read(put(tmp_path, to_json(recipe), "mine.json")) == recipe  # as preflight writes it


def test_a_printed_recipe_explains_every_field():
    lines = write(recipes.TINY).splitlines()
    at = lines.index("  learning_rate: 0.0001")
    assert lines[at - 1] == "  # peak learning rate; at least 0"
    for flat_name in recipes.flat_fields():
        name = flat_name if flat_name in Recipe.model_fields else flat_name.partition("_")[2]
        found = [number for number, line in enumerate(lines) if line.lstrip().startswith(f"{name}:")]
        assert any(lines[number - 1].lstrip().startswith("#") for number in found), flat_name


def test_the_order_is_base_file_set(tmp_path):
    put(tmp_path, "base: tiny\nseed: 1\ngrpo: {learning_rate: 2e-6, max_steps: 7}\n", "low.yaml")
    path = put(tmp_path, "base: low.yaml\ngrpo:\n  max_steps: 8\nnotify:\n  ui: no\n")
    recipe = selection.chosen(str(path), ["grpo_prompts_per_step=16"])
    assert (recipe.name, recipe.seed, recipe.grpo.learning_rate) == ("mine", 1, 2e-6)
    assert (recipe.grpo.max_steps, recipe.grpo.prompts_per_step) == (8, 16)
    assert recipe.notify.ui == "no"  # YAML 1.2: text
    assert recipe.sft == recipes.TINY.sft


def test_a_recipe_knows_the_built_in_one_that_it_stands_on(tmp_path):
    put(tmp_path, "base: tiny\nseed: 1\n", "low.yaml")
    recipe = read(put(tmp_path, "base: low.yaml\nseed: 2\n"))
    assert (recipe.name, recipe.base) == ("mine", "tiny")
    assert read(put(tmp_path, write(recipe), "out.yaml")) == recipe
    put(tmp_path, write(recipes.TINY).replace("name: tiny", "name: whole"), "whole.yaml")
    assert read(put(tmp_path, "base: whole.yaml\n")).base == recipes.TINY.base == ""


def test_a_name_may_be_given(tmp_path):
    assert read(put(tmp_path, "base: tiny\nname: weekly\n")).name == "weekly"


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "below" / "model").mkdir(parents=True)
    path = put(tmp_path, f"base: tiny\nmodel: model\nregistry: reg\nsources: {PROBLEMS}\n", "below/mine.yaml")
    monkeypatch.chdir("/")
    recipe, below = read(path), tmp_path / "below"
    assert (recipe.model, recipe.registry, recipe.checkpoints) == (str(below / "model"), str(below / "reg"), "")
    assert [source.path for source in recipe.sources] == [str(below / "rows.jsonl"), "s3://b/x.jsonl", "a/b"]
    assert read(put(tmp_path, "base: below/mine.yaml\n")).sources == recipe.sources


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base: tiny\nseeds: 1\n", ":2: seeds: there is no such field; valid: seed"),
        (
            "base: tiny\ngrpo:\n  learning_rat: 1\n",
            ":3: grpo.learning_rat: there is no such field; valid: learning_",
        ),
        ("base: tiny\n\nseed: one\n", ":3: seed: 'one' is not a whole number"),
        ("base: tiny\nalways: no\n", ":2: always: 'no' is not true or false"),
        ("base: tiny\ngrpo: {generations: 1}\n", ":2: grpo.generations: 1 is too small; it must be at least 2"),
        ("base: tiny\nseed: 1\nseed: 2\n", ':3: found duplicate key "seed"'),
        ("base: tiny\ngrpo: [1\n", "expected ',' or ']'"),
        ("base: tinny\n", ":1: base 'tinny' is no recipe; valid: tiny, smollm2-135m, qwen3.5-0.8b, reference"),
        ("base: absent.yaml\n", "there is no recipe file"),
        ("base: mine.yaml\n", ":1: base 'mine.yaml' leads back"),
        ("seed: 1\n", "lacks 26 fields, such as model; write `base: tiny`"),
        ("- 1\n", "holds no fields"),
        ("", "holds no fields"),
        ("base: tiny\ngrpo_learning_rate: 1\n", ":2: grpo_learning_rate: write it as `grpo: {learning_rate: ...}`"),
        ("base: tiny\nsources:\n- path: x.jsonl\n  adapter: gsm9k\n", ":4: sources.0.adapter: 'gsm9k' is not one of"),
        ("base: tiny\nsources:\n- adapter: gsm8k\n", ":3: sources.0.path: this field is missing"),
        (
            "base: tiny\nsources: [{path: a.jsonl, adapter: chat, weight: 0}]\n",
            "weight: 0 is too small; it must be above 0",
        ),
        (
            "base: tiny\nsources: [{path: a.jsonl, adapter: chat, use: x}]\n",
            "use: 'x' is not one of '', 'sft', 'problems'",
        ),
        ("base: tiny\nsources: rows.jsonl\n", ":2: sources: 'rows.jsonl' is not a list of sources"),
        (
            "base: tiny\nevaluation:\n- gsm8k\n- math500\n",
            ":4: evaluation.1: 'math500' is no ready-made evaluation source; valid: gsm8k, math-500, aqua, or the",
        ),
        ("base: tiny\nevaluation: gsm8k\n", ":2: evaluation: 'gsm8k' is not a list of sources"),
        ("base: tiny\nevaluation: [gsm8k, {cap: -1, path: x}]\n", ":2: evaluation.1.cap: -1 is too small"),
        ("base: tiny\nstages: [grpo, sft]\n", "stages is grpo,sft; write each stage once, in this order"),
        ("base: tiny\ngrpo: 3\n", ":2: grpo: 3 is not a mapping of fields"),
        ("base: tiny\nseed: 1\nsft: {epochs: .nan}\n", ":3: sft.epochs: "),
        ("base: tiny\nseed: -1\nalways: 3\n", "(and 1 more)"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(text, said, tmp_path):
    path = put(tmp_path, text)
    with pytest.raises(ValueError) as error:
        read(path)
    assert said in str(error.value) and "mine.yaml" in str(error.value) and "\n" not in str(error.value)


def test_evaluation_sources_go_by_name(tmp_path):
    recipe = read(put(tmp_path, "base: tiny\nevaluation: [math-500, {path: rows.jsonl}, aqua]\n"))
    assert [source.label for source in recipe.evaluation] == ["math-500", "rows.jsonl", "aqua"]
    assert read(put(tmp_path, write(recipe), "again.yaml")).evaluation == recipe.evaluation
    assert read(put(tmp_path, "base: tiny\nevaluation: [gsm8k]\n")).evaluation == recipes.QWEN.evaluation


def test_a_circle_of_two_files_is_refused(tmp_path):
    put(tmp_path, "base: two.yaml\n", "one.yaml")
    path = put(tmp_path, "base: one.yaml\n", "two.yaml")
    with pytest.raises(ValueError, match=r"one\.yaml:1: base 'two\.yaml' leads back"):
        read(path)


def test_a_mistake_in_the_base_names_that_file(tmp_path):
    put(tmp_path, "base: tiny\nseeds: 1\n", "low.yaml")
    with pytest.raises(ValueError, match=r"low\.yaml:2: seeds: .*, the base of .*mine\.yaml:1"):
        read(put(tmp_path, "base: low.yaml\n"))


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"base: tiny\nname: \xff\n")
    with pytest.raises(ValueError, match="is not UTF-8"):
        read(path)
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_json_is_a_recipe_file_too(tmp_path):
    path = put(tmp_path, json.dumps({"base": "tiny", "grpo": {"max_steps": 3}}), "mine.json")
    assert selection.load(str(path)).grpo.max_steps == 3
