"""Study files: what they say is what runs, and what is wrong in one is a line with its place."""

import pytest

from components.lib.recipe import recipes
from components.lib.study import declared

TEXT = """recipe: tiny
variants:
  base: {}
  sft: {stages: [sft]}
  both: {grpo: {max_steps: 7}}
seeds: [4, 5]
"""


def put(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_variants_are_changes_of_one_recipe_and_share_the_data(tmp_path):
    study = declared.load(put(tmp_path, TEXT), "", ["sft_max_steps=3", "seed=9"])
    assert (study.name, study.variants, study.seeds) == ("mine", ("base", "sft", "both"), (4, 5))
    assert study.compare == (("base", "sft"), ("base", "both")) and list(study.recipes) == ["sft", "both"]
    sft, both = study.recipes.values()
    assert (sft.stages, both.stages) == (("sft",), ("sft", "grpo")) and sft.sft.max_steps == both.sft.max_steps == 3
    assert both.grpo.max_steps == 7 and both.grpo.learning_rate == recipes.TINY.grpo.learning_rate
    assert sft.data_seed == both.data_seed == 9
    assert declared.load(put(tmp_path, TEXT), "qwen3.5-0.8b").any_recipe.model == recipes.QWEN.model


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seeds:", "seed:", r":6: seed: there is no such field; valid: seeds"),
        ("sft: {stages: [sft]}", "sft: {stage: [sft]}", r":4: stage: there is no such field; valid: stages"),
        ("{max_steps: 7}", "{max_steps: 0}", r":5: grpo.max_steps: 0 is too small; it must be at least 1"),
        ("both:", "sft:", r":5: found duplicate key \"sft\""),
        ("  sft: {stages: [sft]}\n  both: {grpo: {max_steps: 7}}\n", "", ":2: variants has 1; a study compares two"),
        ("base: {}", "base: {model: tiny}", r":3: base is the model as it is"),
        ("[sft]}", "[sft], seed: 1}", r":4: sft: seed is the same for all variants"),
        ("sft: {stages: [sft]}", "sft: 7", r":4: sft: 7 is not a mapping"),
        ("[4, 5]", "[4, 4]", r":6: seeds \[4, 4\]: give different ones"),
        ("[4, 5]", "[4, x]", r":6: seeds.1: 'x' is not"),
        ("[4, 5]", "[]", r":6: seeds: "),
        ("seeds: [4, 5]", "", "seeds: this field is missing"),
        ("seeds:", "compare: [[base, bth]]\nseeds:", r":6: compare \['base', 'bth'\]: there is no variant 'bth'"),
        ("seeds:", "compare: [[sft, sft]]\nseeds:", r":6: .*: name two variants"),
        ("seeds:", "compare: [[base, sft], [base, sft]]\nseeds:", r":6: .*: it is there twice"),
        ("seeds:", "across_protocols: [[sft, x]]\nseeds:", r":6: across_protocols .*: there is no variant 'x'"),
        ("seeds:", "parallel: 0\nseeds:", r":6: parallel: 0 is too small; it must be at least 1"),
        ("both:", "a/b:", "'a/b' names a folder"),
        ("recipe: tiny", "recipe: tny", "no recipe 'tny'; valid: tiny, "),
        ("recipe: tiny", "recipe: tny.yaml", "there is no recipe file .*/tny.yaml"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(tmp_path, old, new, told):
    assert old in TEXT
    with pytest.raises(ValueError, match=told) as error:
        declared.load(put(tmp_path, TEXT.replace(old, new)))
    assert "\n" not in str(error.value)


def test_the_shipped_studies_are_read_and_go_by_their_names():
    assert declared.names() == ["few-shot-shift", "rewards", "sft-or-not", "size"]
    for name in declared.names():
        study = declared.load(name)
        assert study.name == name and len(study.seeds) == 3 and study.compare
    with pytest.raises(ValueError, match="no study 'sft'; valid: few-shot-shift, rewards, sft-or-not, size, or the"):
        declared.load("sft")
