"""One home for what a name is: a Hub id by the Hub's own rules, or a place on this disk."""

from pathlib import Path

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from components.lib.model.files import check_hub_id
from components.lib.model.names import from_hub, looks_local, no_hub_id
from components.lib.recipe import recipes
from components.lib.recipe.paths import absolute, kind_of
from components.lib.recipe.schema import Source
from components.lib.recipe.settings import replace

COMMIT, HERE, BUCKET = "c" * 40, "sha256:0123456789abcdef", "etag:0123456789abcdef0123456789abcdef"
IDS = ["lab/model", "Qwen/Qwen3.5-0.8B", "a/b", "_x/y.z_1", f"lab/{'n' * 96}"]
NO_IDS = ["model", "a/b/c", "a--b/c", "a..b/c", "lab/model.git", "-lab/model", "lab/model-", "lab/größe", "lab/m m",
          "/b", "lab/", "", "s3://b", f"lab/{'n' * 97}"]  # fmt: skip


@pytest.mark.parametrize("name", IDS)
def test_a_hub_id_is_one_for_model_and_source(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_hub_id(name)
    assert not no_hub_id(name) and kind_of(name) == "hub"


@pytest.mark.parametrize("name", NO_IDS)
def test_what_the_hub_would_refuse_is_never_asked_for(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is neither a directory here nor a Hub id"):
        check_hub_id(name)
    assert no_hub_id(name) and kind_of(name) != "hub" and not from_hub(name, COMMIT)


@given(st.text(alphabet="aZ09-_./~: é", max_size=12))
def test_a_name_is_an_id_where_the_library_says_so_and_has_an_owner(name: str) -> None:
    try:
        validate_repo_id(name)
        valid = name.count("/") == 1
    except HFValidationError:
        valid = False
    assert bool(no_hub_id(name)) != valid
    assert not (valid and looks_local(name))
    assert [from_hub(name, revision) for revision in (COMMIT, HERE, BUCKET, "main")] == [valid, False, False, False]


def test_a_folder_that_is_called_as_a_repository_is_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "olmo").mkdir(parents=True)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    recipe = replace(recipes.TINY, model="models/olmo", sources=(Source(path="data/mine"), Source(path="lab/math")))
    found = absolute(recipe)
    assert found.model == str(tmp_path / "models" / "olmo")
    assert [source.path for source in found.sources] == [str(tmp_path / "data" / "mine"), "lab/math"]


def test_the_file_of_a_model_is_not_its_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lab").mkdir()
    Path("lab/weights").touch()
    with pytest.raises(ValueError, match="model 'lab/weights' is neither .*: it is a file"):
        check_hub_id("lab/weights")
