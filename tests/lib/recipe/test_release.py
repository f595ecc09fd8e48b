"""What the end needs is checked with the recipe: names on the Hub, licences."""

import pytest
import yaml

import pipeline
from components.lib.recipe import recipes
from components.lib.recipe.recipes import override
from components.lib.recipe.release import LICENCES
from components.standardize.__main__ import by_hand

LONG = "n" * 92  # with -data it has 97 characters


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"push_hub_repo": "model"}, "push_hub_repo: 'model' cannot be a model on the Hub: write owner/name"),
        ({"push_hub_repo": "me/a/b"}, "cannot be a model on the Hub: write owner/name"),
        ({"push_hub_repo": "me/a--b"}, "Cannot have -- or .. in repo_id"),
        ({"push_hub_repo": "me/größe"}, "must use alphanumeric chars"),
        ({"push_hub_repo": "me/a.git"}, "cannot end by '.git'"),
        ({"push_hub_repo": f"me/{LONG}"}, "cannot be a dataset on the Hub: .* or set push_data=false"),
        ({"push_licence": ""}, "push_licence '' is not one that the Hub lists"),
        ({"push_licence": "Apache-2.0"}, "push_licence 'Apache-2.0' is not .*; write apache-2.0"),
        ({"push_licence": "apache 2"}, "write apache-2.0"),
        ({"push_licence": "cc-by-4"}, "write cc-by-4.0"),
        ({"push_licence": "wxyz"}, "write https://huggingface.co/docs/hub/repositories-licenses, else other with"),
        ({"push_licence": "other"}, "push_licence is other and push_licence_name ''; write an id"),
        ({"push_licence": "other", "push_licence_name": "my own one"}, "push_licence_name 'my own one'; write an id"),
        ({"push_licence_name": "mine-1.0"}, "push_licence_name is 'mine-1.0' and push_licence 'apache-2.0'"),
        (
            {"push_model_registry": "registry:8080"},
            "push_model_registry 'registry:8080' is no address; write http://HOST",
        ),
        ({"push_model_registry": "http://registry:http"}, "is no address; write http://HOST:PORT or https://HOST"),
        ({"push_model_registry": "https://me:pass@registry"}, "its token goes into MODEL_REGISTRY_TOKEN"),
        ({"push_model_registry": "https://registry/?token=1"}, "holds more than an address"),
        ({"sources": '[{"path": "a.jsonl", "licence": ""}]'}, "source 'a.jsonl': licence '' is not one that the Hub"),
        ({"evaluation": '[{"path": "a.jsonl", "licence": "MIT"}]'}, "licence 'MIT' is not .*; write mit"),
    ],
)
def test_what_the_hub_would_refuse_at_the_end_is_refused_by_every_verb(changes, said, tmp_path, capsys):
    with pytest.raises(ValueError, match=said):
        override(recipes.TINY, changes)
    given = [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
    assert pipeline.main(["compile", "--output", str(tmp_path / "p.yaml"), *given]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "p.yaml").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"push_hub_repo": f"me/{'n' * 91}"},
        {"push_hub_repo": f"me/{LONG}", "push_data": "false"},
        {"push_hub_repo": f"me/{LONG}", "stages": "grpo"},  # without SFT there are no conversations
        {"push_licence": "other", "push_licence_name": "my-licence-1.0"},
        {"push_model_registry": "https://registry.example/team"},
        *({"push_licence": licence} for licence in ("mit", "llama3.1", "openrail++", "unknown")),
        {"sources": '[{"path": "a.jsonl", "licence": "unknown"}, {"path": "b.jsonl", "licence": "other"}]'},
    ],
)
def test_what_the_hub_takes_is_taken(changes):
    override(recipes.TINY, changes)


def test_sources_by_hand_are_checked_alike(tmp_path):
    (tmp_path / "sources.json").write_text('[{"path": "a.jsonl", "licence": "Apache 2.0"}]')
    given = dict.fromkeys(("model", "revision", "max_tokens", "seed"))
    with pytest.raises(ValueError, match=r"source 'a\.jsonl': licence 'Apache 2\.0' is not .*; write apache-2\.0"):
        by_hand(
            sources=tmp_path / "sources.json", evaluation=["b.jsonl"], output=tmp_path, recipe=recipes.TINY, **given
        )


def test_a_recipe_file_is_checked_alike(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("base: tiny\npush: {hub_repo: me/a--b}\n")
    assert pipeline.main(["recipe", str(tmp_path / "mine.yaml")]) == 2
    assert "mine.yaml: push_hub_repo: 'me/a--b' cannot be" in capsys.readouterr().err


def test_the_list_of_licences_is_one_that_yaml_keeps_as_text():
    assert len(LICENCES) == len(set(LICENCES)) == 83
    assert all(isinstance(yaml.safe_load(name), str) for name in LICENCES)
