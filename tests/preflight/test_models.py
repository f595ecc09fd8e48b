"""A model that no stage could load is one line in preflight, from the names of its files and its config.json."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file

from components.lib import retry
from components.lib.files import write_text
from components.lib.recipe import recipes
from components.lib.recipe.schema import Source
from components.lib.recipe.settings import replace
from components.preflight.preflight import resolve
from tests.fixtures.hub_server import Fault, HubServer
from tests.fixtures.rows import good, lines

EMPTY = "\x02\0\0\0\0\0\0\0{}"  # a whole safetensors file without tensors
GOOD = {"config.json": '{"model_type": "llama"}', "model.safetensors": EMPTY, "tokenizer.json": "{}"}
INDEX = json.dumps({"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}})
SHARDS = {"config.json": GOOD["config.json"], "model.safetensors.index.json": INDEX, "model-1-of-2.safetensors": EMPTY,
          "model-2-of-2.safetensors": EMPTY}  # fmt: skip
# What a model consists of -> what is said of it.
REFUSED = {
    "no weights": ({"config.json": GOOD["config.json"]}, "has no model.safetensors, nor other weights; name one"),
    "bin": (
        {"config.json": GOOD["config.json"], "pytorch_model.bin": "w"},
        r"only pytorch_model.bin; convert it once: AutoModelForCausalLM.from_pretrained\('NAME'\).save_pretrained",
    ),
    "gguf": (
        {"m-Q4_K_M.gguf": "w"}, r"only m-Q4_K_M.gguf; .* python pipeline.py convert (NAME/)?m-Q4_K_M.gguf DIRECTORY",
    ),
    "many": ({f"pytorch_model-{n}.bin": "w" for n in range(5)}, "only pytorch_model-0.bin, .* and 2 more; convert"),
    "weights of another library": (
        {"config.json": GOOD["config.json"], "consolidated.safetensors": "w"}, "only consolidated.safetensors; convert",
    ),
    "no config": ({"model.safetensors": "w"}, "has no config.json beside its weights"),
    "adapter": (
        {"adapter_config.json": "{}", "adapter_model.safetensors": "w"}, "is an adapter; merge it into its base",
    ),
    "code": (
        {**GOOD, "config.json": '{"model_type": "own", "auto_map": {"AutoConfig": "c.C"}}'}, "brings code of its own",
    ),
    "encoder": ({**GOOD, "config.json": '{"model_type": "bert"}'}, "'bert' is an encoder"),
    "new": ({**GOOD, "config.json": '{"model_type": "llama9"}'}, "'llama9' is no causal language model"),
    "broken config": ({**GOOD, "config.json": "{"}, "config.json is not JSON"),
    "list for a config": ({**GOOD, "config.json": "[]"}, "config.json is no JSON object"),
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        files_url = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + files_url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
        monkeypatch.setenv("HF_TOKEN", "hf_read")
        yield server


def refusal(model: str) -> str:
    with pytest.raises(ValueError) as error:
        resolve(replace(recipes.TINY, model=model))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", REFUSED)
def test_a_directory_that_cannot_be_loaded_is_refused(name, tmp_path):
    files, said = REFUSED[name]
    for file, text in files.items():
        write_text(tmp_path / "model" / file, text)
    assert re.search(said.replace("NAME", f"{tmp_path}/model"), refusal(f"{tmp_path}/model"))


def test_an_empty_directory_and_links_to_nothing_are_refused(tmp_path):
    (tmp_path / "model").mkdir()
    assert "has no model.safetensors" in refusal(f"{tmp_path}/model")
    (tmp_path / "model" / "model.safetensors").symlink_to("blobs/gone")
    assert "has no model.safetensors" in refusal(f"{tmp_path}/model")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "model-2-of-2.safetensors",
            None,
            "lacks model-2-of-2.safetensors of the 2 files that model.safetensors.index",
        ),
        ("model-2-of-2.safetensors", "version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, not"),
        ("model-1-of-2.safetensors", EMPTY + "more", "model-1-of-2.safetensors is cut off or has bytes to spare; save"),
        ("model-1-of-2.safetensors", EMPTY[:-1], "model-1-of-2.safetensors is not a whole safetensors file; save"),
        ("model-1-of-2.safetensors", EMPTY[:-1] + "!", "model-1-of-2.safetensors is no safetensors file; save"),
        ("model.safetensors.index.json", "[]", "index.json is no JSON object"),
        ("model.safetensors.index.json", "{}", "index.json has no field 'weight_map'"),
    ],
)
def test_a_copy_that_is_not_whole_is_refused(file, text, said, tmp_path):
    for name, content in (SHARDS | {file: text}).items():
        if content is not None:
            write_text(tmp_path / "model" / name, content)
    assert said in refusal(f"{tmp_path}/model")


SIZES = {"model_type": "llama", "vocab_size": 20, "hidden_size": 4, "num_hidden_layers": 2}
# The weights of a model, and what is said of them beside SIZES; "" if they fit.
TABLE, LAYERS = "model.embed_tokens.weight", ["model.layers.0.norm.weight", "model.layers.1.norm.weight"]
WEIGHTS = [
    ({TABLE: (20, 4)}, LAYERS, {}, ""),
    ({TABLE: (24, 4)}, LAYERS, {}, f"says: vocab_size is 20, {TABLE} has 24 rows; take both from one model, or"),
    ({TABLE: (20, 8)}, LAYERS[:1], {}, f"hidden_size is 4, {TABLE} has 8 columns, num_hidden_layers is 2, there are 1"),
    ({TABLE: (20, 4)}, [*LAYERS, "model.layers.2.norm.weight"], {}, "num_hidden_layers is 2, there are 3 layers"),
    ({TABLE: (20, 4)}, [*LAYERS, "model.layers.2.norm.weight"], {"num_nextn_predict_layers": 1}, ""),
    ({TABLE: (20, 4)}, [*LAYERS, "visual.blocks.7.norm.weight", "mtp.layers.2.norm.weight"], {}, ""),
    ({"transformer.wte.weight": (20, 4)}, ["transformer.h.0.w"], {}, "num_hidden_layers is 2, there are 1 layers"),
    ({"embedding.of.its.own": (7, 7)}, LAYERS, {}, ""),
]


@pytest.mark.parametrize(("table", "layers", "more", "said"), WEIGHTS)
def test_weights_of_another_size_than_the_configuration_are_refused(table, layers, more, said, tmp_path):
    write_text(tmp_path / "model" / "config.json", json.dumps({"text_config": SIZES | more, "model_type": "llama"}))
    shapes = table | dict.fromkeys(layers, (4,))
    save_file({name: np.zeros(shape) for name, shape in shapes.items()}, tmp_path / "model" / "model.safetensors")
    if said:
        assert said in refusal(f"{tmp_path}/model")
    else:
        resolve(replace(recipes.TINY, model=f"{tmp_path}/model"))


@pytest.mark.parametrize("name", REFUSED)
def test_a_hub_model_that_cannot_be_loaded_is_refused_before_it_is_fetched(name, hub):
    files, said = REFUSED[name]
    hub.add_repo("model", "lab/model", {file: text.encode() for file, text in files.items()})
    assert re.search(said.replace("NAME", "lab/model"), refusal("lab/model"))
    assert not [line for line in hub.log if "/resolve/" in line and "config.json" not in line]


@pytest.mark.parametrize(
    "files",
    [
        GOOD,
        SHARDS,
        {**GOOD, "pytorch_model.bin": "w", "x/y.gguf": "w"},
        {**GOOD, "model.safetensors.index.json": INDEX},
    ],
)
def test_a_model_that_can_be_loaded_passes_and_is_not_fetched(files, hub, tmp_path):
    hub.add_repo("model", "lab/model", {file: text.encode() for file, text in files.items()})
    assert (
        resolve(replace(recipes.TINY, model="lab/model")).revision == hub.repos["model", "lab/model"].branches["main"]
    )
    assert not [line for line in hub.log if "safetensors" in line]
    for file, text in files.items():
        write_text(tmp_path / "model" / file, text)
    assert resolve(replace(recipes.TINY, model=f"{tmp_path}/model")).revision.startswith("sha256:")


def test_weights_in_a_folder_of_a_repository_do_not_count(hub):
    hub.add_repo("model", "lab/model", {"config.json": b"{}", "unet/model.safetensors": b"w"})
    assert "has no model.safetensors, nor other weights" in refusal("lab/model")


@pytest.mark.parametrize("token", ["hf_read", ""])
def test_a_gated_model_is_refused_with_the_way_to_it(token, hub, monkeypatch):
    hub.add_repo("model", "lab/gated", {file: text.encode() for file, text in GOOD.items()}, gated=True)
    monkeypatch.setenv("HF_TOKEN", token)
    said = refusal("lab/gated")
    assert (
        f"model 'lab/gated' is gated, and HF_TOKEN may not read it; accept the conditions on {hub.url}/lab/gated"
        in said
    )
    assert "set HF_TOKEN" in said and not [line for line in hub.log if "/resolve/" in line]
    hub.accepted.add("hf_read")
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    resolve(replace(recipes.TINY, model="lab/gated"))


def test_a_mirror_that_does_not_know_the_question_is_asked_for_the_files(hub, capsys):
    hub.add_repo("model", "lab/model", {file: text.encode() for file, text in GOOD.items()})
    hub.faults.append(Fault("GET .*/auth-check", status=404, times=9))
    resolve(replace(recipes.TINY, model="lab/model"))
    assert "model lab/model: whether it may be read is not told (HTTP 404)" in capsys.readouterr().out


def test_a_gated_data_set_is_refused_too(hub):
    hub.add_repo("dataset", "lab/math", {"rows.jsonl": lines(good("gsm8k", 3))}, gated=True)
    recipe = replace(recipes.TINY, sources=(Source(path="lab/math", adapter="gsm8k", file="rows.jsonl"),))
    with pytest.raises(ValueError, match=f"dataset 'lab/math' is gated, .* {hub.url}/datasets/lab/math, and set"):
        resolve(recipe)


def test_offline_the_cache_says_what_a_model_consists_of(hub, monkeypatch):
    hub.add_repo("model", "lab/model", {file: text.encode() for file, text in GOOD.items()})
    commit = resolve(replace(recipes.TINY, model="lab/model")).revision  # fetches config.json alone
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.log.clear()
    assert "HF_HUB_OFFLINE is set, and model 'lab/model'" in refusal("lab/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    from components.lib.model.files import model_directory

    assert json.loads((model_directory("lab/model", commit) / "config.json").read_text())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve(replace(recipes.TINY, model="lab/model")).revision == commit
