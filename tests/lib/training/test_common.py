"""What SFT and GRPO share: the tokenizer and models they load, LoRA, and what is saved of them."""

import json

import pytest

from components.lib.recipe.settings import replace

torch = pytest.importorskip("torch", reason="needs torch: no training is run")

from transformers import (  # noqa: E402
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
)

from components.lib.generation import prompts  # noqa: E402
from components.lib.model.files import model_directory  # noqa: E402
from components.lib.training import common  # noqa: E402
from tests.lib.training.runs import GRPO, SFT, changed, run_grpo, run_sft  # noqa: E402


def test_the_template_opens_closes_and_strips_the_think_block():
    tokenizer = common.load_tokenizer("tiny", "main")
    turns = [
        *prompts.question_messages("One?"),
        {"role": "assistant", "content": prompts.assistant_text("hidden", "#### 1")},
        {"role": "user", "content": "Two?"},
    ]
    thinking, not_thinking = (
        prompts.render(tokenizer, turns),
        tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=False),
    )
    assert thinking.endswith("<|im_start|>assistant\n<think>\n") and prompts.prefilled(thinking)
    assert not_thinking.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert "hidden" not in thinking and "assistant\n#### 1<|im_end|>" in thinking
    assert "hidden" in tokenizer.apply_chat_template(turns[:3], tokenize=False)


def test_a_saved_model_keeps_template_padding_side_and_greedy_settings(sft):
    tokenizer = AutoTokenizer.from_pretrained(sft[0] / "model")
    assert tokenizer.padding_side == "left" and tokenizer.pad_token != tokenizer.eos_token == "<|im_end|>"
    asked = prompts.question_messages("One?")
    assert prompts.render(tokenizer, asked) == prompts.render(common.load_tokenizer("tiny", "main"), asked)
    settings = json.loads((sft[0] / "model" / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [tokenizer.eos_token_id] and settings["do_sample"] is False
    assert json.loads((sft[0] / "model" / "config.json").read_text())["dtype"] == "float32"


def test_lora_is_merged_before_it_is_saved(data, tmp_path):
    run_sft(data, tmp_path, replace(SFT, max_steps=2, lora_rank=4, learning_rate=1e-2, warmup_steps=0))
    assert 0.2 < changed(model_directory("tiny", "main"), tmp_path / "model") < 0.95
    assert not (tmp_path / "model" / "adapter_config.json").exists()
    numbers = run_grpo(data, tmp_path / "grpo", replace(GRPO, max_steps=1, lora_rank=4), tmp_path / "model")
    assert numbers["steps"] == 1


def test_another_architecture_trains_too(data, tmp_path):
    tokenizer = common.load_tokenizer("tiny", "main")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    run_sft(data, tmp_path / "sft", replace(SFT, max_steps=2), tmp_path / "llama")
    run_grpo(data, tmp_path / "grpo", replace(GRPO, max_steps=1, max_new_tokens=8), tmp_path / "sft" / "model")
    assert changed(tmp_path / "llama", tmp_path / "sft" / "model") > 0.3


def test_a_vision_language_checkpoint_gives_its_text_model(tmp_path):
    text = common.load_model("tiny", "main")
    config = Qwen3_5Config(
        text_config=text.config.to_dict(),
        vision_config={
            "depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 128,
            "num_position_embeddings": 16,
        },
        tie_word_embeddings=True,
    )  # fmt: skip
    whole = Qwen3_5ForConditionalGeneration(config)
    whole.model.language_model.load_state_dict(text.model.state_dict())
    whole.save_pretrained(tmp_path)
    common.load_tokenizer("tiny", "main").save_pretrained(tmp_path)
    found = common.load_model(str(tmp_path), "main")
    assert type(found) is type(text) and found.dtype == torch.float32
    for name, parameter in text.named_parameters():
        assert torch.equal(parameter, found.get_parameter(name))
