"""Dealing the completions to passes: the same gradient as TRL's order and padding, for less work."""

from importlib.metadata import version

import pytest

from components.lib.recipe.settings import replace

torch = pytest.importorskip("torch", reason="needs torch: no batch is dealt")

from trl import GRPOTrainer  # noqa: E402

from components.grpo import train as grpo  # noqa: E402
from components.grpo import trainer as ours  # noqa: E402
from components.grpo.agreement import logprobs_of  # noqa: E402
from components.grpo.batches import MOST, micro_batches, trimmed, weights_of  # noqa: E402
from components.grpo.rollouts import Rollouts  # noqa: E402
from components.grpo.scorer import Scorer  # noqa: E402
from components.lib.files import read_jsonl  # noqa: E402
from components.lib.training import common  # noqa: E402
from components.lib.training.survive import Guarded  # noqa: E402
from tests.lib.training.runs import GRPO, job, rows_of, run_grpo, weights  # noqa: E402


def batch(advantages=(1.0, -1.0, 0.0, 0.0, 2.0, 0.0), lengths=(2, 5, 3, 1, 4, 5)):
    """Six completions of three prompts, two each, padded as TRL pads; column k of row r holds 10 * r + k."""
    rows = torch.arange(6)[:, None]
    prompt_mask = torch.tensor([[0, 1, 1]] * 2 + [[1, 1, 1]] * 2 + [[0, 0, 1]] * 2)
    completion_mask = (torch.arange(5)[None] < torch.tensor(lengths)[:, None]).long()
    return {
        "prompt_ids": prompt_mask * (rows // 2 + 1), "prompt_mask": prompt_mask,
        "completion_ids": completion_mask * (10 * rows + torch.arange(5)), "completion_mask": completion_mask,
        "advantages": torch.tensor(advantages), "num_items_in_batch": torch.tensor(20),
        "old_per_token_logps": -(10.0 * rows + torch.arange(5)), "importance_sampling_ratio": torch.ones(6, 1),
    }  # fmt: skip


def numbers_of(part):
    """Which completions a part holds, by their first token."""
    return [int(value) // 10 for value in -part["old_per_token_logps"][:, 0]]


def test_rows_of_a_prompt_stay_together_and_columns_of_padding_go():
    parts = micro_batches(batch(), 3, together=True, drop=False)
    assert sorted(n for part in parts for n in numbers_of(part)) == [0, 1, 2, 3, 4, 5]
    for part in parts:
        assert len({n // 2 for n in numbers_of(part)}) == 1
        assert part["completion_mask"].any(dim=0).all() and part["prompt_mask"].any(dim=0).all()
        assert part["old_per_token_logps"].shape == part["completion_ids"].shape
        assert part["importance_sampling_ratio"].shape == (2, 1) and part["num_items_in_batch"] == 20
    assert [part["prompt_ids"].shape[1] for part in parts if 4 in numbers_of(part)] == [1]


def test_by_length_alone():
    parts = micro_batches(batch(), 2, together=False, drop=False)
    assert [part["completion_mask"].sum(dim=1).tolist() for part in parts] == [[5, 5, 4], [3, 2, 1]]
    assert parts[1]["completion_ids"].shape == (3, 3)


@pytest.mark.parametrize(("count", "kept"), [(2, [0, 1, 4]), (3, [0, 1, 4]), (5, [0, 1, 4, 2, 3])])
def test_rows_without_advantage_are_left_out_unless_a_pass_would_be_empty(count, kept):
    parts = micro_batches(batch(), count, together=True, drop=True)
    assert len(parts) == count and all(numbers_of(part) for part in parts)
    assert sorted(n for part in parts for n in numbers_of(part)) == sorted(kept)


def test_where_all_are_masked_a_column_is_left():
    masked = batch()
    masked["completion_mask"] = torch.zeros_like(masked["completion_mask"])
    assert trimmed(masked, [0, 1])["completion_ids"].shape == (2, 1)


def test_a_prompts_tensor_of_the_completions_width_is_cut_by_its_own_columns():
    wide = batch()
    wide["prompt_ids"], wide["prompt_mask"] = (
        torch.nn.functional.pad(wide[name], (2, 0)) for name in ("prompt_ids", "prompt_mask")
    )
    assert wide["prompt_ids"].shape == wide["completion_ids"].shape
    cut = trimmed(wide, [0, 1])
    assert cut["prompt_ids"].tolist() == [[1, 1]] * 2 and cut["prompt_mask"].all()
    assert cut["completion_ids"].shape == (2, 5)


def test_a_tensor_of_unknown_dimensions_is_refused():
    with pytest.raises(ValueError, match=rf"trl {version('trl')} holds 'mm_token_type_ids', of which .* not know"):
        trimmed(batch() | {"mm_token_type_ids": torch.zeros(6, 5)}, [0, 1])


def test_completions_are_never_used_twice_nor_for_an_evaluation(data, tmp_path):
    work = job("grpo", data, tmp_path, GRPO)
    tokenizer, model = common.load_tokenizer("tiny", "main"), common.load_model("tiny", "main")
    trainer = make(work, model, tokenizer, list(read_jsonl(data / "problems.jsonl")))
    trainer.num_iterations = 2
    with pytest.raises(ValueError, match="num_iterations must be 1, not 2"):
        trainer._prepare_inputs([])
    trainer.num_iterations = 1
    trainer.model.eval()
    with pytest.raises(ValueError, match="TRL's evaluation be off"):
        trainer._prepare_inputs([])


def make(work, model, tokenizer, problems):
    rollouts = Rollouts(work, tokenizer)
    scorer = Scorer(rollouts.text, work.settings, problems, work.directory / "samples.jsonl")
    with common.old_names():
        return grpo.make_trainer(
            work, model, tokenizer, scorer, rollouts, grpo.one_pass(problems, {}, work.settings, 0, tokenizer)
        )


@pytest.mark.parametrize("checkpointing", [False, True])
def test_shared_prompts_give_the_same_logps_entropies_and_gradients(data, tmp_path, checkpointing):
    work = job("grpo", data, tmp_path, replace(GRPO, gradient_checkpointing=checkpointing))
    tokenizer, model = common.load_tokenizer("tiny", "main"), common.load_model("tiny", "main")
    trainer = make(work, model, tokenizer, list(read_jsonl(data / "problems.jsonl")))
    if checkpointing:  # as the training does when it begins
        model.activation_checkpointing_enable()
        model.train()
    assert trainer.shares_prompts
    torch.manual_seed(0)
    prompts = torch.randint(5, 300, (3, 20))
    prompt_mask = (torch.arange(20)[None] >= torch.tensor([[0], [4], [9]])).long()
    places = torch.tensor([0, 0, 1, 2, 2, 2])
    completions = torch.randint(5, 300, (6, 11))
    mask = (torch.arange(11)[None] < torch.tensor([[11], [3], [7], [11], [1], [5]])).long()
    ids = torch.cat([(prompts * prompt_mask)[places], completions * mask], dim=1)
    attention = torch.cat([prompt_mask[places], mask], dim=1)

    def scored(score):
        model.zero_grad()
        logps, entropies, _ = score(model, ids, attention, 11, compute_entropy=True)
        (logps * mask).sum().backward()
        return logps * mask, entropies * mask, {n: p.grad.clone() for n, p in model.named_parameters()}

    plain = scored(lambda *a, **k: GRPOTrainer._get_per_token_logps_and_entropies(trainer, *a, **k))
    for few in (1 << 24, 0):  # from logits, and through TRL's fused head
        if checkpointing:  # as TRL does around every generation
            model.activation_checkpointing_disable()
            model.activation_checkpointing_enable()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("components.grpo.trainer.FEW_LOGITS", few)
            shared = scored(trainer._get_per_token_logps_and_entropies)
        torch.testing.assert_close(shared[0], plain[0], atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(shared[1], plain[1], atol=2e-4, rtol=1e-4)
        for name, gradient in plain[2].items():
            assert (shared[2][name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6, name


class Plain(Guarded, GRPOTrainer):
    """TRL's own order, padding and passes."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"micro_batch_size": 2},
        {"gradient_checkpointing": True},
        {"loss_type": "grpo"},
        {"beta": 0.1},
        {"beta": 0.1, "gradient_checkpointing": True},
    ],
    ids=["one pass", "four passes", "checkpointing", "grpo", "kl", "kl and checkpointing"],
)
def test_a_step_moves_the_weights_as_trl_would(data, sft, tmp_path, monkeypatch, changes):
    settings = replace(GRPO, max_steps=1, warmup_steps=0, micro_batch_size=8, learning_rate=1e-3)
    settings = replace(settings, **changes)
    run_grpo(data, tmp_path / "ours", settings, sft[0] / "model")
    monkeypatch.setattr(grpo, "GrpoTrainer", Plain)
    run_grpo(data, tmp_path / "theirs", settings, sft[0] / "model")
    before, ours, theirs = (
        weights(d) for d in (sft[0] / "model", tmp_path / "ours" / "model", tmp_path / "theirs" / "model")
    )
    moved = sum((theirs[n] - before[n]).abs().sum() for n in before)
    apart = sum((theirs[n] - ours[n]).abs().sum() for n in before)
    assert moved > 0 and apart < 0.02 * moved, "AdamW's first step divides by the gradient's size, rounding included"


class Corrected(Plain):
    """TRL's own correction of what vLLM drew, which asks the model once more; without vLLM itself."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.use_vllm = self.vllm_importance_sampling_correction = True
        self.vllm_importance_sampling_mode, self.vllm_importance_sampling_clip_max = "token_truncate", MOST
        self._last_loaded_step = 0  # there is no engine that the weights would be loaded into


class Inexact(Rollouts):
    """Rollouts that come with log-probabilities, as vLLM's do: some nats beside the model's, and one is missing."""

    def __call__(self, messages, trainer):
        found = super().__call__(messages, trainer)
        with torch.no_grad():
            exact = logprobs_of(trainer, found["prompt_ids"], found["completion_ids"])
        noise = torch.Generator().manual_seed(0)
        drawn = [(row + 0.7 * torch.randn(row.shape, generator=noise)).tolist() for row in exact]
        drawn[0][0] = None
        return {**found, "logprobs": drawn}


@pytest.mark.parametrize(
    "changes", [{}, {"micro_batch_size": 2}, {"beta": 0.1}, {"loss_type": "grpo"}], ids=["dapo", "passes", "kl", "grpo"]
)
def test_what_another_engine_drew_counts_as_trl_would_have_it_without_a_second_pass(
    data, sft, tmp_path, monkeypatch, changes
):
    settings = replace(GRPO, max_steps=1, warmup_steps=0, micro_batch_size=8, learning_rate=1e-3)
    settings, dealt = replace(settings, **changes), []
    deal = ours.micro_batches
    monkeypatch.setattr(ours, "micro_batches", lambda batch, *a, **k: dealt.append(batch) or deal(batch, *a, **k))
    run_grpo(data, tmp_path / "uncorrected", settings, sft[0] / "model")
    monkeypatch.setattr(grpo, "Rollouts", Inexact)
    run_grpo(data, tmp_path / "ours", settings, sft[0] / "model")
    assert "sampling_per_token_logps" in dealt[1] and "old_per_token_logps" not in dealt[1]
    monkeypatch.setattr(grpo, "GrpoTrainer", Corrected)
    run_grpo(data, tmp_path / "theirs", settings, sft[0] / "model")
    before = weights(sft[0] / "model")
    uncorrected, mine, theirs = (weights(tmp_path / d / "model") for d in ("uncorrected", "ours", "theirs"))
    moved = sum((theirs[n] - before[n]).abs().sum() for n in before)
    apart = sum((theirs[n] - mine[n]).abs().sum() for n in before)
    assert moved > 0 and apart < 0.02 * moved
    assert sum((uncorrected[n] - mine[n]).abs().sum() for n in before) > 0.1 * moved, "the correction shows"
    told = [[row["sampling_difference"] for row in rows_of(tmp_path / d, "curves.jsonl")] for d in ("ours", "theirs")]
    assert told[0] == pytest.approx(told[1], rel=0.3) and 0.3 < told[0][0] < 0.9


def test_the_weight_of_a_token_is_bounded_and_one_where_nothing_is_known():
    ours = torch.log(torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
    drawn = torch.log(torch.tensor([[0.5, 1.0, 0.1, float("nan")]]))
    assert weights_of(ours, drawn, torch.ones(1, 4)).tolist() == [[1.0, 0.5, MOST, 1.0]]
    assert weights_of(ours, drawn, torch.zeros(1, 4)).tolist() == [[1.0] * 4]
