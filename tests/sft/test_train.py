"""SFT for a few steps on the embedded model: weights move, the loss falls, what is learned and in which order."""

from pathlib import Path

import pytest

from components.lib.recipe.settings import replace

torch = pytest.importorskip("torch", reason="needs torch: no training is run")
from trl.trainer import utils  # noqa: E402

from components.lib.files import read_jsonl  # noqa: E402
from components.lib.generation import prompts  # noqa: E402
from components.lib.model.files import model_directory  # noqa: E402
from components.lib.training import common, upstream  # noqa: E402
from components.lib.training.sharing import read_once  # noqa: E402
from components.lib.training.survive import Guarded  # noqa: E402
from components.sft.train import IGNORED, order_of, tokenize  # noqa: E402
from tests.lib.training.runs import SFT, changed, job, run_sft, weights  # noqa: E402


def test_sft_sees_the_prompt_and_learns_reasoning_answer_and_end(data):
    tokenizer = common.load_tokenizer("tiny", "main")
    messages = next(read_jsonl(data / "sft.jsonl"))["messages"]
    row = tokenize(tokenizer, messages, "<|im_end|>")
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


def test_sft_drops_what_is_too_long_and_refuses_to_train_on_nothing(data, tmp_path):
    tokenizer = common.load_tokenizer("tiny", "main")
    lengths = sorted(
        len(tokenize(tokenizer, row["messages"], "<|im_end|>")["input_ids"]) for row in read_jsonl(data / "sft.jsonl")
    )
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


def test_a_step_at_1e_6_changes_nearly_all_weights(data, random_model, tmp_path):
    """Master weights are float32; in bfloat16 most of these updates would be rounded away."""
    small = replace(SFT, max_steps=1, learning_rate=1e-6, warmup_steps=0, batch_size=8, micro_batch_size=8)
    run_sft(data, tmp_path, small, random_model)
    assert changed(random_model, tmp_path / "model") > 0.97
    before, after = weights(random_model), weights(tmp_path / "model")
    rounded = sum((before[n].bfloat16() != after[n].bfloat16()).sum().item() for n in before)
    assert rounded / sum(p.numel() for p in before.values()) < 0.05


def test_conversations_of_a_step_lie_by_length_and_all_are_used_alike():
    lengths = [n % 17 + 3 for n in range(40)]
    work = job("sft", Path(), Path(), replace(SFT, batch_size=8, micro_batch_size=4))
    order = order_of(lengths, 10, work)
    assert sorted(order) == sorted([*range(40)] * 2)
    for start in range(0, 80, 8):
        part = [lengths[i] for i in order[start : start + 8]]
        assert part == sorted(part, reverse=True)
    assert {*order[:40]} == {*range(40)}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_all_conversations_begin_with_is_read_once_for_the_same_gradient(
    data, tmp_path, monkeypatch, checkpointing
):
    read, gradients = [], []

    def beginning(trainer, model, beginnings, *others):
        read.append(beginnings.shape)
        return read_once(trainer, model, beginnings, *others)

    def norm(trainer, model, grad_norm=None):
        gradients.append([part.grad.clone() for part in model.parameters()])
        return Guarded._get_grad_norm(trainer, model, grad_norm)

    monkeypatch.setattr("components.sft.train.read_once", beginning)
    monkeypatch.setattr("components.sft.train.SftTrainer._get_grad_norm", norm)
    settings = replace(SFT, max_steps=1, gradient_checkpointing=checkpointing)
    shared = run_sft(data, tmp_path / "shared", settings)
    assert len(read) == settings.batch_size // settings.micro_batch_size and all(len(shape) == 2 for shape in read)
    assert all(shape[0] == 1 and shape[1] >= 30 for shape in read)
    monkeypatch.setattr("components.sft.train.WORTH", 1000)
    alone = run_sft(data, tmp_path / "alone", settings)
    assert len(read) == settings.batch_size // settings.micro_batch_size
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert shared["loss_first"] == pytest.approx(alone["loss_first"], rel=1e-5)
    assert shared["token_accuracy"] == alone["token_accuracy"]


def test_tokens_without_loss_are_not_scored_for_the_same_loss(data, tmp_path, monkeypatch):
    scored = []
    apply = utils._ChunkedLogProbFunction.apply

    def counting(hidden, weight, bias, targets, *others):
        scored.append(len(targets))
        return apply(hidden, weight, bias, targets, *others)

    monkeypatch.setattr(utils._ChunkedLogProbFunction, "apply", counting)
    settings = replace(SFT, max_steps=1)
    alone = run_sft(data, tmp_path / "alone", settings)
    tokens, scored[:] = sum(scored), []
    monkeypatch.setattr(upstream, "_skips", lambda device: False)
    every = run_sft(data, tmp_path / "every", settings)
    assert 0 < tokens < 0.6 * sum(scored)
    assert alone["loss_first"] == pytest.approx(every["loss_first"], rel=1e-5)
    assert alone["token_accuracy"] == every["token_accuracy"]
