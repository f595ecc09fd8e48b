"""Training curves for the report: which columns are shown, and few enough points to draw."""

from collections.abc import Mapping, Sequence
from typing import Any

# Column of curves.jsonl -> (title, whether it is a share).
SHOWN = {
    "reward": ("Reward", False),
    "correct": ("Right answers in training", True),
    "plateau": ("Right on the plateau split", True),
    "completion_length": ("Completion length, tokens", False),
    "rollouts_per_s": ("Completions a second of the step", False),
    "tokens_per_s": ("Tokens a second of the step", False),
    "kl": ("KL from the start", False),
    "loss": ("Loss", False),
    "entropy": ("Entropy, nats a token", False),
    "zero_variance": ("Groups without signal", True),
    "used": ("Completions with an advantage", True),
    "clip_ratio": ("Clipped probability ratios", True),
    "sampling_difference": ("Rollouts from trainer, nats a token", False),
    "grad_norm": ("Gradient norm", False),
    "learning_rate": ("Learning rate", False),
    "truncated": ("Cut off at the limit", True),
    "unparsed": ("No answer read, or cut off", True),
    "format_without_correct": ("Well formed but wrong", True),
}
POINTS = 160


def thin(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float]]]:
    """Column -> [[step, value], ...] with at most POINTS points, each the mean of equally many steps.

    Columns that are missing or zero throughout are left out.
    """
    found = {}
    for name in SHOWN:
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if any(value for _, value in points):
            found[name] = _blocks(points)
    return found


def _blocks(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    size = -(-len(points) // POINTS)
    blocks = [points[start : start + size] for start in range(0, len(points), size)]
    return [[block[-1][0], sum(value for _, value in block) / len(block)] for block in blocks]
