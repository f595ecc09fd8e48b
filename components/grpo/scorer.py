"""The bridge between TRL's reward hooks and the pure rewards of rewards.py."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from components.grpo import rewards
from components.lib.answers.kinds import Judgement, Question
from components.lib.generation import prompts
from components.lib.generation.decode import Text
from components.lib.recipe.schema import Grpo
from components.lib.training.checkpoints import append_row

RATES = ("correct", "unparsed", "timed_out", "multi_marker", "truncated", "format_without_correct", "zero_variance")
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

    A completion that does not end with one of the `text`'s end tokens was cut off at the length limit. TRL hands each
    function the column `problem` of the data set: the problem's place in `problems`.
    """

    def __init__(self, text: Text, settings: Grpo, problems: Sequence[dict[str, Any]], samples: Path) -> None:
        self.text, self.settings, self.problems, self.samples = text, settings, problems, samples
        self.prefilled = prompts.prefilled(prompts.render(text.tokenizer, prompts.asking(problems[0])))
        self.last: tuple[Any, list[Judgement]] = ((), [])  # a batch and its verdicts

    @property
    def functions(self) -> list[Any]:
        """The reward functions, in the order of the recipe's weights."""
        return [self.correctness, self.think_format, self.answer_marker]

    def correctness(
        self, *, completion_ids: list[list[int]], problem: list[int], trainer_state: Any,
        log_metric: Callable[[str, float], None], **_: Any,
    ) -> list[float]:  # fmt: skip
        """`rewards.correctness`; also logs the rates and, every so many steps and in the first and last, samples."""
        judged = self._judge(completion_ids, problem)
        right = rewards.correctness(judged)
        log_metric("zero_variance", same_in_group(right, self.settings.generations))
        for name, rate in rewards.rates(judged, self._finished(completion_ids)).items():
            log_metric(name, rate)
        step = trainer_state.global_step + 1
        shown = step in (1, self.settings.max_steps) or step % self.settings.sample_steps == 0
        if shown and trainer_state.is_world_process_zero:
            self._keep(step, problem, self._texts(completion_ids), self.totals(judged))
        return right

    def think_format(self, *, completion_ids: list[list[int]], problem: list[int], **_: Any) -> list[float]:
        """`rewards.think_format`."""
        return rewards.think_format(self._judge(completion_ids, problem))

    def answer_marker(self, *, completion_ids: list[list[int]], problem: list[int], **_: Any) -> list[float]:
        """`rewards.answer_marker`."""
        return rewards.answer_marker(self._judge(completion_ids, problem))

    def totals(self, judged: list[Judgement]) -> list[float]:
        """The weighted sum of the rewards, as TRL makes it."""
        weights = (self.settings.correct_weight, self.settings.think_weight, self.settings.marker_weight)
        parts = [reward(judged) for reward in (rewards.correctness, rewards.think_format, rewards.answer_marker)]
        return [sum(w * p for w, p in zip(weights, row, strict=True)) for row in zip(*parts, strict=True)]

    def _judge(self, completion_ids: list[list[int]], problem: list[int]) -> list[Judgement]:
        """The verdicts of a batch, which each of the functions asks for."""
        batch = (completion_ids, problem)
        if self.last[0] != batch:
            questions = [Question.of(self.problems[place], prefilled=self.prefilled) for place in problem]
            found = rewards.judgements(self._texts(completion_ids), questions, self._finished(completion_ids))
            self.last = batch, found
        return self.last[1]

    def _texts(self, completion_ids: list[list[int]]) -> list[str]:
        """The texts, decoded here because a tokenizer's response template would cut the reasoning out."""
        return [self.text.decode(ids) for ids in completion_ids]

    def _finished(self, completion_ids: list[list[int]]) -> list[bool]:
        return [bool(self.text.ended(ids)) for ids in completion_ids]

    def _keep(self, step: int, problem: list[int], texts: list[str], totals: list[float]) -> None:
        asked = [self.problems[place] for place in problem]
        first = range(0, len(texts), self.settings.generations)[:SAMPLES_PER_STEP]
        for i in first:
            row = {
                "step": step, "question": asked[i]["question"], "gold": asked[i]["gold"], "completion": texts[i],
                "reward": round(totals[i], 6),
            }  # fmt: skip
            append_row(self.samples, row)
        shown = " ".join(texts[0].split())
        print(f"step {step} sample, reward {totals[0]:.2f}, gold {asked[0]['gold']}: {shown[:SHOWN]}", flush=True)
