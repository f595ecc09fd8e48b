"""SFT and GRPO for a few steps on the embedded model: weights move, what should improve does, the result reloads."""

import json
from dataclasses import fields
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from components.lib.recipe.settings import replace

torch = pytest.importorskip("torch", reason="needs torch: no training is run")

from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
)
from trl import GRPOConfig  # noqa: E402

from components.evaluate.evaluate import plan_requests  # noqa: E402
from components.grpo import screen  # noqa: E402
from components.grpo.plateau import Plateau  # noqa: E402
from components.grpo.rollouts import Rollouts  # noqa: E402
from components.grpo.train import _rollout_arguments, end_ids, one_pass  # noqa: E402
from components.grpo.train import train as train_grpo  # noqa: E402
from components.lib.files import read_jsonl, write_jsonl  # noqa: E402
from components.lib.generation import prompts  # noqa: E402
from components.lib.models import model_directory  # noqa: E402
from components.lib.recipe.recipes import TINY  # noqa: E402
from components.lib.tiny.problems import rows  # noqa: E402
from components.lib.training import common  # noqa: E402
from components.lib.training.job import Job  # noqa: E402
from components.sft.train import IGNORED, order_of, tokenize  # noqa: E402
from components.sft.train import train as train_sft  # noqa: E402

SFT = replace(TINY.sft, max_steps=40, batch_size=16, micro_batch_size=8, warmup_steps=1, learning_rate=1e-3)
GRPO = replace(TINY.grpo, max_steps=3, prompts_per_step=2, generations=4, micro_batch_size=4, warmup_steps=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Standardised files with a few rows each."""
    out = tmp_path_factory.mktemp("data")
    chat = [row["messages"] for row, _ in zip(rows("chat", 0), range(128), strict=False)]
    write_jsonl(out / "sft.jsonl", ({"messages": standard(messages)} for messages in chat))
    problems = [row for row, _ in zip(rows("problems", 0), range(48), strict=False)]
    problems = [
        {"id": f"problems/{n}", "question": row["question"], "gold": row["answer"].split("#### ")[1]}
        for n, row in enumerate(problems)
    ]
    write_jsonl(out / "problems.jsonl", problems[:32])
    write_jsonl(out / "plateau.jsonl", problems[32:])
    return out


def standard(messages):
    thinking, answer = messages[2]["content"].removeprefix("<thought>").split("</thought>")
    asked = prompts.question_messages(messages[1]["content"])
    return [*asked, {"role": "assistant", "content": prompts.assistant_text(thinking, answer)}]


@pytest.fixture(scope="module")
def sft(data, tmp_path_factory):
    """Forty small steps of SFT: (directory, numbers)."""
    out = tmp_path_factory.mktemp("sft")
    return out, run_sft(data, out, SFT)


def run_sft(data, out, settings, model="tiny", seed=0):
    return train_sft(job("sft", data, out, settings, model, seed), out / "model")


def run_grpo(data, out, settings, model="tiny", seed=0):
    return train_grpo(job("grpo", data, out, settings, model, seed), out / "model")


def job(stage, data, place, settings, model="tiny", seed=0):
    return Job(
        stage=stage, model=str(model), revision="main", data=data, place=place, seed=seed, settings=settings,
        training=TINY.training, scale=TINY.scale,
    )  # fmt: skip


def weights(directory):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def changed(before, after):
    """The share of all weights that differ."""
    before, after = weights(before), weights(after)
    assert before.keys() == after.keys()
    return sum((before[n] != after[n]).sum().item() for n in before) / sum(p.numel() for p in before.values())


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


def test_sft_sees_the_prompt_and_learns_reasoning_answer_and_end(data):
    tokenizer = common.load_tokenizer("tiny", "main")
    messages = next(read_jsonl(data / "sft.jsonl"))["messages"]
    row = tokenize(tokenizer, messages)
    prompt = tokenizer(prompts.render(tokenizer, messages[:2]))["input_ids"]
    learned = [token for token in row["labels"] if token != IGNORED]
    assert row["input_ids"] == prompt + learned and row["labels"][: len(prompt)] == [IGNORED] * len(prompt)
    assert tokenizer.decode(learned) == messages[2]["content"].removeprefix("<think>\n") + "<|im_end|>"
    assert row["input_ids"] == tokenizer(tokenizer.decode(row["input_ids"]))["input_ids"]


def test_sft_moves_the_weights_lowers_the_loss_and_reloads(sft):
    out, numbers = sft
    assert numbers["steps"] == 40 and numbers["conversations"] == 128
    assert numbers["loss_last"] < 0.6 * numbers["loss_first"]
    # Rows of tokens that never occurred keep their embedding but for AdamW's decay, which is 0 here.
    assert changed(model_directory("tiny", "main"), out / "model") > 0.6
    curve = list(read_jsonl(out / "curves" / "curves.jsonl"))
    assert [row["step"] for row in curve] == list(range(1, 41))
    assert all(row["loss"] > 0 and 0 < row["seconds"] for row in curve)


def test_a_saved_model_keeps_template_padding_side_and_greedy_settings(sft):
    tokenizer = AutoTokenizer.from_pretrained(sft[0] / "model")
    assert tokenizer.padding_side == "left" and tokenizer.pad_token != tokenizer.eos_token == "<|im_end|>"
    asked = prompts.question_messages("One?")
    assert prompts.render(tokenizer, asked) == prompts.render(common.load_tokenizer("tiny", "main"), asked)
    settings = json.loads((sft[0] / "model" / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [tokenizer.eos_token_id] and settings["do_sample"] is False
    assert json.loads((sft[0] / "model" / "config.json").read_text())["dtype"] == "float32"


def test_sft_drops_what_is_too_long_and_refuses_to_train_on_nothing(data, tmp_path):
    tokenizer = common.load_tokenizer("tiny", "main")
    lengths = sorted(len(tokenize(tokenizer, row["messages"])["input_ids"]) for row in read_jsonl(data / "sft.jsonl"))
    limit = lengths[64]
    numbers = run_sft(data, tmp_path, replace(SFT, max_steps=1, max_tokens=limit))
    assert numbers["dropped_too_long"] == sum(length > limit for length in lengths) > 0
    with pytest.raises(ValueError, match="no conversation of at most max_tokens = 16 tokens"):
        run_sft(data, tmp_path, replace(SFT, max_tokens=16))


def test_a_batch_that_does_not_divide_is_refused(data, tmp_path):
    with pytest.raises(
        ValueError, match="micro_batch_size 5 does not divide a step's 16 rows on 1 process.*use one of 1, 2, 4, 8, 16"
    ):
        run_sft(data, tmp_path, replace(SFT, micro_batch_size=5))


def test_grpo_feeds_the_prompts_of_everyone(data, tmp_path, monkeypatch):
    problems, fed = list(read_jsonl(data / "problems.jsonl")), []
    write = Rollouts.write
    monkeypatch.setattr(
        Rollouts, "write", lambda self, model, ids, seed: fed.extend(ids) or write(self, model, ids, seed)
    )
    run_grpo(data, tmp_path, GRPO)
    tokenizer, order = common.load_tokenizer("tiny", "main"), one_pass(problems, {}, GRPO, 0)["question"]
    expected = [prompts.render(tokenizer, prompts.question_messages(question)) for question in order]
    assert fed[:: GRPO.generations] == [tokenizer(text)["input_ids"] for text in expected]
    assert all(fed[i : i + 4] == [fed[i]] * 4 for i in range(0, len(fed), 4))


def test_sft_grpo_and_evaluation_ask_a_question_alike(tmp_path):
    tokenizer, question = common.load_tokenizer("tiny", "main"), "Tom has 7 cards. Tom finds 9. How many?"
    row = {"id": "a", "question": question, "gold": "16", "solution": "7+9=16", "hash": "0"}
    for name in ("evaluation", "gate"):
        write_jsonl(tmp_path / f"{name}.jsonl", [row])
    zero_shot = replace(TINY.evaluate, protocols=("zero-shot",))
    evaluated = {r.prompt for r in plan_requests(tokenizer, "", tmp_path, 0, zero_shot)}
    answer = {"role": "assistant", "content": prompts.assistant_text("7+9=16", "#### 16")}
    taught = tokenize(tokenizer, [*prompts.question_messages(question), answer])
    rewarded = one_pass([row], {}, GRPO, 0)[0]["prompt"]
    assert evaluated == {prompts.render(tokenizer, rewarded)}
    assert evaluated == {tokenizer.decode(taught["input_ids"][: taught["labels"].count(IGNORED)])}


def test_grpo_moves_the_weights_logs_and_reloads(data, sft, tmp_path):
    numbers = run_grpo(data, tmp_path, GRPO, sft[0] / "model")
    assert numbers["steps"] == 3 and numbers["problems"] == 32
    assert changed(sft[0] / "model", tmp_path / "model") > 0.5
    for row in read_jsonl(tmp_path / "curves" / "curves.jsonl"):
        assert {"reward", "reward_std", "entropy", "completion_length", "clipped_ratio", "zero_variance"} < row.keys()
        assert {"unparsed", "truncated", "multi_marker", "format_without_correct", "correct"} < row.keys()
        assert row["truncated"] == pytest.approx(row["clipped_ratio"])
    samples = list(read_jsonl(tmp_path / "curves" / "samples.jsonl"))
    assert samples and {"step", "question", "gold", "completion", "reward"} == samples[0].keys()


def test_grpo_raises_the_reward_of_one_problem(data, sft, tmp_path):
    one = next(read_jsonl(data / "problems.jsonl"))
    write_jsonl(tmp_path / "problems.jsonl", [one])
    settings = replace(GRPO, max_steps=20, prompts_per_step=4, micro_batch_size=16, learning_rate=1e-3)
    numbers = run_grpo(tmp_path, tmp_path, settings, sft[0] / "model")
    assert numbers["reward_last"] > numbers["reward_first"] + 0.3


def test_grpo_keeps_the_best_weights_and_stops_without_progress(data, sft, tmp_path):
    settings = replace(GRPO, max_steps=8, learning_rate=0.0, plateau_steps=1, plateau_patience=2, plateau_problems=8)
    numbers = run_grpo(data, tmp_path, settings, sft[0] / "model")
    assert numbers["steps"] == 3 and numbers["plateau_step"] == 1
    evaluations = list(read_jsonl(tmp_path / "curves" / "plateau.jsonl"))
    assert [row["step"] for row in evaluations] == [1, 2, 3] and {row["n"] for row in evaluations} == {8}
    assert changed(sft[0] / "model", tmp_path / "model") == 0


def test_the_last_step_competes_too(data, sft, tmp_path):
    settings = replace(GRPO, max_steps=3, plateau_steps=2, plateau_problems=2)
    run_grpo(data, tmp_path, settings, sft[0] / "model")
    assert [row["step"] for row in read_jsonl(tmp_path / "curves" / "plateau.jsonl")] == [2, 3]


def test_what_is_asked_of_vllm_is_known_to_trl(data, tmp_path):
    """Nothing is written with it here; that every option has a meaning is all that can be seen without a GPU."""
    work = job("grpo", data, tmp_path, replace(GRPO, rollouts="vllm"))
    tokenizer = common.load_tokenizer("tiny", "main")
    found = _rollout_arguments(work, Rollouts(work, tokenizer, {tokenizer.eos_token_id}))
    names = {field.name for field in fields(GRPOConfig)}
    assert found["use_vllm"] and len(found) > 8 and set(found) <= names
    assert 200 > found["vllm_max_model_length"] - GRPO.max_new_tokens > 20


def test_the_best_weights_come_back(data, tmp_path):
    tokenizer, model = common.load_tokenizer("tiny", "main"), common.load_model("tiny", "main")
    settings = replace(GRPO, plateau_steps=1, plateau_problems=2)
    work = job("grpo", data, tmp_path, settings)
    (tmp_path / "curves").mkdir()
    plateau = Plateau(work, tokenizer, Rollouts(work, tokenizer, end_ids(model, tokenizer)))
    plateau.on_step_end(None, SimpleNamespace(global_step=1), None, model=model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    again = Plateau(work, tokenizer, plateau.rollouts)
    again.on_step_end(None, SimpleNamespace(global_step=2), None, model=model)
    assert [row["step"] for row in again.rows] == [1, 2] and again.best["step"] == 1
    kept = again.weights()
    assert all(torch.equal(before[name], kept[name]) for name, _ in model.named_parameters())


def test_every_problem_is_used_once_before_any_is_used_again(data):
    problems = list(read_jsonl(data / "problems.jsonl"))
    order = one_pass(problems, {}, replace(GRPO, max_steps=20, prompts_per_step=4), 0)["question"]
    assert len(order) == 80 and order[:32] != order[32:64]
    assert {*order[:32]} == {*order[32:64]} == {row["question"] for row in problems}
    assert len({*order[64:]}) == 16


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


def test_a_step_at_1e_6_changes_nearly_all_weights(data, random_model, tmp_path):
    """Master weights are float32; in bfloat16 most of these updates would be rounded away."""
    small = replace(SFT, max_steps=1, learning_rate=1e-6, warmup_steps=0, batch_size=8, micro_batch_size=8)
    run_sft(data, tmp_path, small, random_model)
    assert changed(random_model, tmp_path / "model") > 0.97
    before, after = weights(random_model), weights(tmp_path / "model")
    rounded = sum((before[n].bfloat16() != after[n].bfloat16()).sum().item() for n in before)
    assert rounded / sum(p.numel() for p in before.values()) < 0.05


def test_screening_drops_what_is_always_or_never_solved(data, sft, tmp_path, capsys):
    settings = replace(GRPO, screen_samples=4, max_steps=1, curriculum=1.0)
    work = job("grpo", data, tmp_path, settings, sft[0] / "model")
    assert screen.train(work, tmp_path / "unused") is None
    found = list(read_jsonl(tmp_path / "screen-0-of-1.jsonl"))
    assert len(found) == 32 and {row["of"] for row in found} == {4}
    assert not any(tmp_path.glob("screen-partial*"))
    between = {row["id"] for row in found if 0 < row["right"] < 4}
    assert 2 <= len(between) < 32, "the screened policy must solve some problems sometimes"
    assert f"{len(between)} left" in capsys.readouterr().out
    numbers = run_grpo(data, tmp_path, settings, sft[0] / "model")
    assert (numbers["problems"], numbers["problems_dropped"]) == (len(between), 32 - len(between))


def test_a_screening_that_leaves_too_little_says_so(data):
    problems = list(read_jsonl(data / "problems.jsonl"))
    rates = {row["id"]: float(n % 2) for n, row in enumerate(problems)} | {problems[0]["id"]: 0.5}
    with pytest.raises(ValueError, match="of 32 problems only 1 are neither always nor never solved, fewer"):
        screen.worth_training(problems, rates, GRPO)


def test_the_curriculum_mixes_between_random_and_strict():
    problems = [{"id": str(n)} for n in range(200)]
    rates = {str(n): n / 200 for n in range(200)}
    orders = {c: screen.easier_first(problems, rates, c, Random(0)) for c in (0.0, 0.5, 1.0)}
    assert orders[1.0] == list(range(199, -1, -1))
    first = {c: sum(rates[str(n)] for n in order[:100]) / 100 for c, order in orders.items()}
    assert 0.4 < first[0.0] < 0.6 < first[0.5] < 0.72 < first[1.0]
    assert all(sorted(order) == list(range(200)) for order in orders.values())


def test_conversations_of_a_step_lie_by_length_and_all_are_used_alike():
    lengths = [n % 17 + 3 for n in range(40)]
    work = job("sft", Path(), Path(), replace(SFT, batch_size=8, micro_batch_size=4))
    order = order_of(lengths, 10, work)
    assert sorted(order) == sorted([*range(40)] * 2)
    for start in range(0, 80, 8):
        part = [lengths[i] for i in order[start : start + 8]]
        assert part == sorted(part, reverse=True)
    assert {*order[:40]} == {*range(40)}


def test_a_constant_learning_rate_warms_up_too(data, sft, tmp_path):
    run_grpo(data, tmp_path, replace(GRPO, max_steps=4, warmup_steps=2, learning_rate=1e-4), sft[0] / "model")
    rates = [row["learning_rate"] for row in read_jsonl(tmp_path / "curves" / "curves.jsonl")]
    assert rates == pytest.approx([0.0, 5e-5, 1e-4, 1e-4])
