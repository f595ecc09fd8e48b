"""Alarms: signs in the curves of GRPO that it learns something else than what it should, or nothing any more."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

from components.lib.recipe.schema import Training
from components.lib.training.checkpoints import alarm
from components.lib.training.watch import Recorder

WINDOW = 10  # steps whose mean is looked at, at the beginning and now
SOLVED = 0.95  # share of right answers above which a policy that explores no more is no cause for alarm

Row = Mapping[str, float]


def found(rows: Sequence[Row], limits: Training) -> dict[str, str]:
    """Kind of alarm -> message, for a run with these rows of its curves; empty in the first two windows."""
    if len(rows) < 2 * WINDOW:
        return {}
    first, now = (_means(part) for part in (rows[:WINDOW], rows[-WINDOW:]))
    checks = (_entropy, _zero_variance, _truncated, _kl, _length, _format)
    return {check.__name__[1:]: text for check in checks if (text := check(first, now, limits))}


class Alarms(TrainerCallback):
    """Looks at the recorder's rows after every step; each kind is told once."""

    def __init__(self, recorder: Recorder, limits: Training) -> None:
        self.recorder, self.limits = recorder, limits

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell what is new."""
        if not state.is_world_process_zero:
            return
        for kind, message in found(self.recorder.rows, self.limits).items():
            alarm(self.recorder.path.parent, state.global_step, kind, message)


def _entropy(first: Row, now: Row, limits: Training) -> str:
    if now["correct"] >= SOLVED or now["entropy"] >= limits.alarm_entropy * first["entropy"]:
        return ""
    return (
        f"the entropy fell from {first['entropy']:.3g} to {now['entropy']:.3g} nats a token while only "
        f"{now['correct']:.0%} is right: the policy explores no more; lower grpo_learning_rate or raise "
        "grpo_temperature"
    )


def _zero_variance(first: Row, now: Row, limits: Training) -> str:
    if now["correct"] >= SOLVED or now["zero_variance"] <= limits.alarm_zero_variance:
        return ""
    return (
        f"{now['zero_variance']:.0%} of the groups are all right or all wrong and teach nothing; set "
        "grpo_screen_samples to drop such problems, or raise grpo_generations"
    )


def _truncated(first: Row, now: Row, limits: Training) -> str:
    if now["truncated"] <= limits.alarm_truncated:
        return ""
    return f"{now['truncated']:.0%} of the completions hit the length limit; raise grpo_max_new_tokens"


def _kl(first: Row, now: Row, limits: Training) -> str:
    if now.get("kl", 0.0) <= limits.alarm_kl:
        return ""
    return (
        f"the policy is {now['kl']:.3g} nats a token from where it began; lower grpo_learning_rate or raise grpo_beta"
    )


def _length(first: Row, now: Row, limits: Training) -> str:
    ratio = now["completion_length"] / first["completion_length"]
    if 1 / limits.alarm_length <= ratio <= limits.alarm_length:
        return ""
    return (
        f"completions went from {first['completion_length']:.0f} to {now['completion_length']:.0f} tokens; "
        "read the sample completions: is that reasoning?"
    )


def _format(first: Row, now: Row, limits: Training) -> str:
    more_form = now["format_without_correct"] - first["format_without_correct"]
    if more_form <= limits.alarm_format or now["correct"] > first["correct"]:
        return ""
    return (
        f"well-formed wrong answers rose by {100 * more_form:.0f} points and right ones did not: the reward for the "
        "form is being earned without the answer; lower grpo_think_weight and grpo_marker_weight"
    )


def _means(rows: Sequence[Row]) -> Row:
    names = set.intersection(*(set(row) for row in rows))
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}
