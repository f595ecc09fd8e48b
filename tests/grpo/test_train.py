"""GRPO for a few steps on the embedded model: weights move, the reward rises, the best weights are kept."""

from dataclasses import fields
from random import Random
from types import SimpleNamespace

import pytest

from components.lib.recipe.settings import replace

torch = pytest.importorskip("torch", reason="needs torch: no training is run")

from trl import GRPOConfig  # noqa: E402

from components.evaluate.evaluate import plan_requests  # noqa: E402
from components.grpo import screen  # noqa: E402
from components.grpo.plateau import Plateau  # noqa: E402
from components.grpo.rollouts import Rollouts  # noqa: E402
from components.grpo.train import _rollout_arguments, one_pass  # noqa: E402
from components.lib.files import read_jsonl, write_jsonl  # noqa: E402
from components.lib.generation import prompts  # noqa: E402
from components.lib.recipe.recipes import TINY  # noqa: E402
from components.lib.training import common  # noqa: E402
from components.sft.train import IGNORED, tokenize  # noqa: E402
from tests.lib.training.runs import GRPO, changed, job, rows_of, run_grpo  # noqa: E402


def test_grpo_feeds_the_prompts_of_everyone(data, tmp_path, monkeypatch):
    problems, fed = list(read_jsonl(data / "problems.jsonl")), []
    write = Rollouts.write
    monkeypatch.setattr(
        Rollouts, "write", lambda self, model, ids, seed: fed.extend(ids) or write(self, model, ids, seed)
    )
    run_grpo(data, tmp_path, GRPO)
    tokenizer = common.load_tokenizer("tiny", "main")
    order = one_pass(problems, {}, GRPO, 0, tokenizer)["problem"]
    expected = [prompts.render(tokenizer, prompts.asking(problems[place])) for place in order]
    assert fed[:: GRPO.generations] == [tokenizer(text)["input_ids"] for text in expected]
    assert all(fed[i : i + 4] == [fed[i]] * 4 for i in range(0, len(fed), 4))


def test_sft_grpo_and_evaluation_ask_a_question_alike(tmp_path):
    tokenizer, question = common.load_tokenizer("tiny", "main"), "Tom has 7 cards. Tom finds 9. How many?"
    row = {"id": "a", "question": question, "gold": "16", "solution": "7+9=16", "hash": "0"}
    for name in ("evaluation", "gate"):
        write_jsonl(tmp_path / f"{name}.jsonl", [row])
    zero_shot = replace(TINY.evaluate, protocols=("zero-shot",))
    evaluated = {r.prompt for r in plan_requests(tokenizer, "", tmp_path, 0, zero_shot)[0]}
    answer = {"role": "assistant", "content": prompts.assistant_text("7+9=16", "#### 16")}
    taught = tokenize(tokenizer, [*prompts.question_messages(question), answer], "<|im_end|>")
    rewarded = one_pass([row], {}, GRPO, 0, tokenizer)[0]["prompt"]
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
    settings = replace(GRPO, max_steps=20, prompts_per_step=4, micro_batch_size=16, learning_rate=5e-4)
    numbers = run_grpo(tmp_path, tmp_path, settings, sft[0] / "model")
    assert numbers["reward_last"] > numbers["reward_first"] + 0.3


def test_grpo_keeps_the_best_weights_and_stops_without_progress(data, sft, tmp_path):
    settings = replace(GRPO, max_steps=8, learning_rate=0.0, plateau_steps=1, plateau_patience=2, plateau_problems=8)
    numbers = run_grpo(data, tmp_path, settings, sft[0] / "model")
    assert numbers["steps"] == 3 and numbers["plateau_step"] == 1
    evaluations = list(read_jsonl(tmp_path / "curves" / "plateau.jsonl"))
    assert [row["step"] for row in evaluations] == [1, 2, 3] and {row["n"] for row in evaluations} == {8}
    assert changed(sft[0] / "model", tmp_path / "model") == 0


@pytest.mark.parametrize(("lora_rank", "learning_rate"), [(0, 0.05), (2, 1.0)])
def test_what_it_began_with_competes_and_wins_a_tie(data, sft, tmp_path, capsys, lora_rank, learning_rate):
    """The steps that follow move the weights so far that none of them can be better."""
    settings = replace(
        GRPO, max_steps=8, learning_rate=learning_rate, plateau_steps=1, plateau_patience=2, plateau_problems=8,
        lora_rank=lora_rank,
    )  # fmt: skip
    numbers = run_grpo(data, tmp_path, settings, sft[0] / "model", candidate="best")
    assert (numbers["steps"], numbers["plateau_step"]) == (2, 0)
    assert [row["step"] for row in read_jsonl(tmp_path / "curves" / "plateau.jsonl")] == [0, 1, 2]
    assert changed(sft[0] / "model", tmp_path / "model") == 0
    told = "step 0 of 2, the best on the plateau split: they are those that it began with, so it changed nothing."
    assert f"GRPO handed on the weights of {told}" in capsys.readouterr().out


def test_to_measure_what_it_began_with_changes_no_step(data, sft, tmp_path):
    settings, rows = replace(GRPO, plateau_steps=2, plateau_problems=2), {}
    for candidate in ("last", "best"):
        run_grpo(data, tmp_path / candidate, settings, sft[0] / "model", candidate=candidate)
        rows[candidate] = rows_of(tmp_path / candidate, "curves.jsonl")
    assert rows["last"] == rows["best"] and len(rows["best"]) == 3


def test_the_last_step_competes_too(data, sft, tmp_path):
    settings = replace(GRPO, max_steps=3, plateau_steps=2, plateau_problems=2)
    run_grpo(data, tmp_path, settings, sft[0] / "model")
    assert [row["step"] for row in read_jsonl(tmp_path / "curves" / "plateau.jsonl")] == [2, 3]


def test_what_is_asked_of_vllm_is_known_to_trl(data, tmp_path):
    """Nothing is written with it here; that every option has a meaning is all that can be seen without a GPU."""
    work = job("grpo", data, tmp_path, replace(GRPO, rollouts="vllm"))
    tokenizer = common.load_tokenizer("tiny", "main")
    found = _rollout_arguments(work, Rollouts(work, tokenizer))
    names = {field.name for field in fields(GRPOConfig)}
    assert found["use_vllm"] and len(found) > 8 and set(found) <= names
    assert 200 > found["vllm_max_model_length"] - GRPO.max_new_tokens > 20


def test_the_best_weights_come_back(data, tmp_path):
    tokenizer, model = common.load_tokenizer("tiny", "main"), common.load_model("tiny", "main")
    settings = replace(GRPO, plateau_steps=1, plateau_problems=2)
    work = job("grpo", data, tmp_path, settings)
    (tmp_path / "curves").mkdir()
    plateau = Plateau(work, tokenizer, Rollouts(work, tokenizer))
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
    settings, tokenizer = replace(GRPO, max_steps=20, prompts_per_step=4), common.load_tokenizer("tiny", "main")
    order = one_pass(problems, {}, settings, 0, tokenizer)["problem"]
    assert len(order) == 80 and order[:32] != order[32:64]
    assert {*order[:32]} == {*order[32:64]} == {*range(len(problems))}
    assert len({*order[64:]}) == 16


def test_screening_drops_what_is_always_or_never_solved(data, sft, tmp_path, capsys):
    settings = replace(GRPO, screen_samples=4, max_steps=1, curriculum=1.0)
    work = job("grpo", data, tmp_path, settings, sft[0] / "model")
    screen.screen(work)
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


def test_a_constant_learning_rate_warms_up_from_the_first_step_on(data, sft, tmp_path):
    run_grpo(data, tmp_path, replace(GRPO, max_steps=4, warmup_steps=2, learning_rate=1e-4), sft[0] / "model")
    rates = [row["learning_rate"] for row in read_jsonl(tmp_path / "curves" / "curves.jsonl")]
    assert rates == pytest.approx([5e-5, 1e-4, 1e-4, 1e-4])
