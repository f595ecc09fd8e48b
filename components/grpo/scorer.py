"""The bridge between TRL's reward hooks and the pure rewards of rewards.py."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from components.grpo import rewards
from components.lib.answers.parser import Judgement
from components.lib.generation import prompts
from components.lib.generation.decode import Text
from components.lib.recipe.schema import Grpo
from components.lib.training.checkpoints import append_row

RATES = ("correct", "unparsed", "multi_marker", "truncated", "format_without_correct", "zero_variance")
SAMPLES_PER_STEP = 2
SHOWN = 240  # characters of a sample in the log


def same_in_group(right: Sequence[float], size: int) -> float:
    """The share of groups of `size` neighbours that are all right or all wrong.

    TRL's own figure is over the whole reward, in which a difference of form hides that no answer differs.
    """
    groups = [right[start : start + size] for start in range(0, len(right), size)]
    return sum(min(group) == max(group) for group in groups) / len(groups)


class Scorer:
    """Rewards for GRPOTrainer; logs the batch's rates and adds a few completions to a `samples.jsonl` now and then.

    A completion that does not end with one of the `text`'s end tokens was cut off at the length limit.
    """

    def __init__(self, text: Text, settings: Grpo, question: str, samples: Path) -> None:
        self.text, self.settings, self.samples = text, settings, samples
        self.prefilled = prompts.prefilled(prompts.render(text.tokenizer, prompts.question_messages(question)))

    @property
    def functions(self) -> list[Any]:
        """The reward functions, in the order of the recipe's weights."""
        return [self.correctness, self.think_format, self.answer_marker]

    def correctness(
        self, *, completion_ids: list[list[int]], question: list[str], gold: list[str], trainer_state: Any,
        log_metric: Callable[[str, float], None], **_: Any,
    ) -> list[float]:  # fmt: skip
        """`rewards.correctness`; also logs the rates and, every so many steps, samples."""
        texts, finished = self._read(completion_ids)
        judged = rewards.judgements(texts, gold, finished, prefilled=self.prefilled)
        right = rewards.correctness(judged)
        log_metric("zero_variance", same_in_group(right, self.settings.generations))
        for name, rate in rewards.rates(judged, finished).items():
            log_metric(name, rate)
        step = trainer_state.global_step + 1
        if trainer_state.is_world_process_zero and (step == 1 or step % self.settings.sample_steps == 0):
            self._keep(step, question, gold, texts, self.totals(judged))
        return right

    def think_format(self, *, completion_ids: list[list[int]], gold: list[str], **_: Any) -> list[float]:
        """`rewards.think_format`."""
        return rewards.think_format(self._judge(completion_ids, gold))

    def answer_marker(self, *, completion_ids: list[list[int]], gold: list[str], **_: Any) -> list[float]:
        """`rewards.answer_marker`."""
        return rewards.answer_marker(self._judge(completion_ids, gold))

    def totals(self, judged: list[Judgement]) -> list[float]:
        """The weighted sum of the rewards, as TRL makes it."""
        weights = (self.settings.correct_weight, self.settings.think_weight, self.settings.marker_weight)
        parts = [reward(judged) for reward in (rewards.correctness, rewards.think_format, rewards.answer_marker)]
        return [sum(w * p for w, p in zip(weights, row, strict=True)) for row in zip(*parts, strict=True)]

    def _judge(self, completion_ids: list[list[int]], golds: list[str]) -> list[Judgement]:
        texts, finished = self._read(completion_ids)
        return rewards.judgements(texts, golds, finished, prefilled=self.prefilled)

    def _read(self, completion_ids: list[list[int]]) -> tuple[list[str], list[bool]]:
        """The texts, decoded here because a tokenizer's response template would cut the reasoning out."""
        return [self.text.decode(ids) for ids in completion_ids], [bool(self.text.ended(ids)) for ids in completion_ids]

    def _keep(self, step: int, questions: list[str], golds: list[str], texts: list[str], totals: list[float]) -> None:
        first = range(0, len(texts), self.settings.generations)[:SAMPLES_PER_STEP]
        for i in first:
            row = {
                "step": step, "question": questions[i], "gold": golds[i], "completion": texts[i],
                "reward": round(totals[i], 6),
            }  # fmt: skip
            append_row(self.samples, row)
        shown = " ".join(texts[0].split())
        print(f"step {step} sample, reward {totals[0]:.2f}, gold {golds[0]}: {shown[:SHOWN]}", flush=True)
