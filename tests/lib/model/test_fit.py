"""What a model makes of the prompts is found, and said, before its weights are fetched."""

import json

import pytest

pytest.importorskip("transformers", reason="needs transformers: no tokenizer is made")
from components.lib.data.tokens import Tokens
from components.lib.generation import prompts
from components.lib.generation.context import check_conversations, check_prompts
from components.lib.generation.fit import check_limits, fit, fitting_limits
from components.lib.model.config import context_of
from components.lib.recipe.recipes import TINY
from components.lib.recipe.settings import replace
from pipeline import main
from tests import ROOT
from tests.fixtures.families import CHATML, CLOSES, DROPS, FAMILIES, GEMMA, LLAMA3, PREFILLS, QWEN3, make

TOLD = prompts.system_prompt("marker", "number")
SPECIAL = ["<|im_start|>", "<|im_end|>"]


def model(directory, template, **config):
    make(template, SPECIAL, {"eos_token": "<|im_end|>"}).save_pretrained(directory)
    known = {"model_type": "llama", "vocab_size": 320, "max_position_embeddings": 1024}
    (directory / "config.json").write_text(json.dumps(known | config))
    (directory / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")  # no tensors
    return directory


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML, ["the instruction is the system turn", "the model opens it; <think> 7 tokens"]),
        (PREFILLS, ["the prompt has opened it"]),
        (QWEN3, ["takes reasoning out of earlier turns"]),
        (LLAMA3, ["writes today's date into each prompt"]),
        (GEMMA, ["begins the user turn: its chat template refuses", "System role not supported"]),
        (DROPS, ["begins the user turn: its chat template drops the system turn without a word"]),
    ],
)
def test_what_was_found_is_said(template, said, tmp_path):
    told = "\n".join(fit(model(tmp_path, template), "m", [TOLD]).told())
    assert all(text in told for text in said), told
    assert ("date" in told, "earlier turns" in told) == (template == LLAMA3, template == QWEN3)


@pytest.mark.parametrize(
    ("template", "config", "message"),
    [
        ("", {}, "model 'm' has no chat template; choose an instruction-tuned model, or save one"),
        (CLOSES, {}, "closes the think block before the model can think, also with enable_thinking=True"),
        ("{{ raise_exception('only tools') }}", {}, "chat template refuses a conversation of user: only tools"),
        ("{{ messages[0].content[0].text }}", {}, "loses the instruction 'You are a careful"),
        ("{{ messages[0].content.parts.text }}", {}, "refuses a conversation of user: .*no attribute 'parts'"),
        ("{{ messages[-1].content[:40] }}", {}, "loses the instruction"),
        (CHATML.replace("m.content", "m.content | lower"), {}, "loses the instruction"),
        ("{{ messages[0].content }}", {}, "loses the question"),
        ("{% for m in messages %}{{ m.content }", {}, "refuses a conversation"),
        (CHATML, {"vocab_size": 100}, r"need the token \d+, but its config has vocab_size 100; resize the embeddings"),
    ],
)
def test_what_cannot_be_mended_is_one_line(template, config, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        fit(model(tmp_path, template, **config), "m", [TOLD])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({"n_positions": 1024, "n_ctx": 512}, 1024),
        ({"max_seq_len": 2048, "alibi": True}, 2048),
        ({"text_config": {"max_position_embeddings": 262144}}, 262144),
        ({"model_type": "bloom", "seq_length": 2048}, None),
        ({}, None),
    ],
)
def test_the_context_by_any_name(config, context):
    assert context_of(config) == context


def recipe(evaluate=256, grpo=128, sft=512, sample=0):
    return replace(
        TINY, evaluate=replace(TINY.evaluate, max_new_tokens=evaluate), grpo=replace(TINY.grpo, max_new_tokens=grpo),
        sft=replace(TINY.sft, max_tokens=sft), sample=replace(TINY.sample, problems=sample, max_new_tokens=300),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "context", "wrong"),
    [
        ({}, None, {}),
        ({}, 512, {}),
        ({}, 356, {"sft_max_tokens": 356}),
        ({}, 355, {"evaluate_max_new_tokens": 255, "sft_max_tokens": 355}),
        ({"sample": 5}, 399, {"sample_max_new_tokens": 299, "sft_max_tokens": 399}),
        ({"sft": 128}, 150, {"evaluate_max_new_tokens": 50, "grpo_max_new_tokens": 50}),
    ],
)
def test_limits_that_cannot_fit_come_with_values_that_do(changes, context, wrong):
    assert fitting_limits(recipe(**changes), context, 100) == wrong
    if not wrong:
        check_limits(recipe(**changes), "m", context, 100)
        return
    with pytest.raises(ValueError, match=f"context of {context} tokens, prompts take up to 100") as caught:
        check_limits(recipe(**changes), "m", context, 100)
    assert all(f"--set {name}={value}" in str(caught.value) for name, value in wrong.items())


def test_a_prompt_that_fills_the_context_has_other_advice():
    with pytest.raises(ValueError, match=r"context of 90 tokens, which a prompt of 100 fills; leave out that problem"):
        check_limits(recipe(sft=64), "m", 90, 100)


@pytest.mark.parametrize(
    ("asked", "new", "advice"),
    [
        ({"short": "zero-shot problem 1", "long " * 40: "8-shot problem 2"}, 100, "leave the few-shot protocols out"),
        ({"short": "zero-shot problem 1", "long " * 30: "zero-shot problem 2"}, 990, r"set S to \d+ at most"),
        ({"long " * 500: "zero-shot problem 2"}, 8, "take a model with a longer context"),
    ],
)
def test_every_stage_refuses_prompts_that_leave_no_room(asked, new, advice, tmp_path):
    directory = model(tmp_path, CHATML, max_position_embeddings=200 if new == 100 else 1024)
    with pytest.raises(ValueError, match=rf"problem 2 has a prompt of .* tokens; with S={new} .*{advice}"):
        check_prompts(directory, asked, new, "S")
    check_prompts(directory, {"short": "zero-shot problem 1"}, 8, "S")


def test_positions_beyond_the_context_are_never_trained(tmp_path):
    check_conversations(model(tmp_path, CHATML), 1024)
    with pytest.raises(
        ValueError, match="sft_max_tokens=1025 exceeds the model's context of 1,024.*set sft_max_tokens=1024"
    ):
        check_conversations(tmp_path, 1025)


def test_doctor_says_what_was_found_and_writes_the_settings(tmp_path, capsys):
    directory = model(tmp_path / "größe", GEMMA, max_position_embeddings=700, model_type="gemma")
    assert main(["doctor", "--model", str(directory), "--recipe", "qwen3.5-0.8b"]) == 0
    printed = capsys.readouterr().out
    assert "model type gemma, context 700" in printed and "begins the user turn" in printed
    lines = printed.partition("Recipe\n")[2].splitlines()
    assert lines[:2] == ["  base: qwen3.5-0.8b", f'  model: "{directory}"']
    assert "  sft: {max_tokens: 700}" in lines and any("grpo: {max_new_tokens: " in line for line in lines)
    (tmp_path / "r.yaml").write_text("\n".join(line[2:] for line in lines))
    assert main(["doctor", "--model", str(directory), "--recipe", str(tmp_path / "r.yaml")]) == 0
    assert "max_" not in capsys.readouterr().out.partition("Recipe\n")[2]


def test_conversations_of_a_model_without_a_chat_template_are_not_counted(tmp_path):
    with pytest.raises(ValueError, match="has no chat template, so its conversations cannot be counted"):
        Tokens(str(model(tmp_path, "")), "")


def test_doctor_prints_what_the_document_shows(capsys):
    shown = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]
    assert main(["doctor", "--model", "tiny"]) == 0 and capsys.readouterr().out == shown


def test_doctor_refuses_what_preflight_would(tmp_path, capsys):
    assert main(["doctor", "--model", str(model(tmp_path / "m", CLOSES))]) == 2
    assert "closes the think block" in capsys.readouterr().err
    assert main(["doctor", "--model", str(model(tmp_path / "n", CHATML, max_position_embeddings=64))]) == 2
    assert "context of 64 tokens, which a prompt of" in capsys.readouterr().err


def test_the_table_of_families_is_as_wide_as_it_says():
    assert len({family.name for family in FAMILIES}) == len(FAMILIES) >= 13
    table = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert all(f"\n| {family.name} | " in table for family in FAMILIES), "docs/models.md has a row for each"
    assert {family.system for family in FAMILIES} == {family.prefilled for family in FAMILIES} == {True, False}
