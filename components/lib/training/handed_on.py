"""Which weights GRPO hands on, by what it measured on the plateau split: rows {"step", "accuracy", "n"}. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.lib.training.checkpoints import whole_rows

PLATEAU = "plateau.jsonl"  # of the curves


def best(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row of the best evaluation, the earliest of equal ones; None if there is none."""
    return max(rows, key=lambda row: (row["accuracy"], -row["step"]), default=None)


def handed_on(curves: Path) -> str:
    """A sentence that says whose weights are handed on by the GRPO that left these curves; empty for the last ones.

    The last evaluation is always that of the last step.
    """
    rows = whole_rows(curves / PLATEAU) if (curves / PLATEAU).exists() else []
    if (chosen := best(rows)) is None:
        return ""
    told = f"GRPO handed on the weights of step {chosen['step']} of {rows[-1]['step']}, the best on the plateau split"
    return f"{told}." if chosen["step"] else f"{told}: they are those that it began with, so it changed nothing."
