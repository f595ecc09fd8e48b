"""What is seen of a training while it runs: its curves on disk, a progress bar or lines, and live metrics."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from components.lib.training.checkpoints import CURVES, TrainingDir, append_row, whole_rows

Work = Callable[[Mapping[str, float]], Mapping[str, float]]

PROGRESS_SECONDS = 5.0
TENSORBOARD = f"{CURVES}/tensorboard"
# Tracker -> the environment variables of which one turns it on: trackio's are a Space of the Hub, or a directory.
TRACKERS = {"wandb": ("WANDB_API_KEY",), "trackio": ("TRACKIO_SPACE_ID", "TRACKIO_DIR")}


def reporting_arguments(directory: TrainingDir) -> dict[str, Any]:
    """Trainer arguments for live metrics: TensorBoard always, W&B or trackio when its variable is set.

    A resumed training goes on in the same W&B run. `ValueError` if a tracker that is turned on is not installed.
    """
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(directory.path / TENSORBOARD)
    told = {name: [v for v in variables if os.environ.get(v)] for name, variables in TRACKERS.items()}
    chosen = [name for name, variables in told.items() if variables]
    for name in chosen:
        if find_spec(name) is None:
            raise ValueError(
                f"{told[name][0]} is set, but {name} is not installed; install the extra live, or unset it"
            )
    os.environ.setdefault("WANDB_PROJECT", "grpo-pipeline")
    os.environ["WANDB_RUN_ID"] = directory.path.name
    os.environ.setdefault("WANDB_RESUME", "allow")
    return {
        "logging_steps": 1, "logging_nan_inf_filter": False, "disable_tqdm": True, "save_strategy": "no",
        "report_to": ["tensorboard", *chosen], "run_name": directory.path.name, "project": "grpo-pipeline",
        "trackio_space_id": os.environ.get("TRACKIO_SPACE_ID") or None,
    }  # fmt: skip


class Recorder(TrainerCallback):
    """Writes every step to `curves.jsonl` in `directory` and shows progress: a bar on a terminal, lines elsewhere.

    `columns` maps the trainer's log names to the curve's; a name that a step did not log is left out of its row.
    `shown` names the columns of a progress line, `work` counts what a step did, by its row; each count is also written
    per second of the step, which ends before the callbacks added after this one look at it. Rows that are there already
    are those of the run that is resumed.
    """

    def __init__(
        self, directory: Path, columns: Mapping[str, str], shown: tuple[str, ...], work: Work = lambda row: {}
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "curves.jsonl"
        self.columns, self.shown, self.work = columns, shown, work
        self.rows: list[dict[str, float]] = whole_rows(self.path) if self.path.exists() else []
        self.before = self.rows[-1]["seconds"] if self.rows else 0.0
        self.began = self.printed = self.step_began = self.step_ended = time.monotonic()
        self.bar: tqdm | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.began = self.printed = time.monotonic()
        if state.is_world_process_zero and sys.stderr.isatty():
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock of the step."""
        self.step_began = time.monotonic()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop it."""
        self.step_ended = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Record one step; the summary that the trainer logs at the end is none."""
        if not logs or "loss" not in logs:
            return
        row = {"step": state.global_step}
        row |= {ours: float(logs[name]) for name, ours in self.columns.items() if logs.get(name) is not None}
        row |= self._done(row)
        row["seconds"] = round(self.before + time.monotonic() - self.began, 3)
        self.rows.append(row)
        if not state.is_world_process_zero:
            return
        append_row(self.path, row)
        self._show(row, state.max_steps)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Close the bar."""
        if self.bar:
            self.bar.close()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self.rows[-1]["seconds"]

    def mean(self, column: str, *, last: bool) -> float:
        """The mean of a column over the last or the first tenth of the steps."""
        values = [row[column] for row in self.rows if column in row]
        count = max(1, len(values) // 10)
        part = values[-count:] if last else values[:count]
        return sum(part) / len(part)

    def _done(self, row: Mapping[str, float]) -> dict[str, float]:
        """What the step did, and how much of it in a second."""
        counts, seconds = self.work(row), max(self.step_ended - self.step_began, 1e-9)
        return dict(counts) | {f"{name}_per_s": round(count / seconds, 3) for name, count in counts.items()}

    def _show(self, row: dict[str, float], steps: int) -> None:
        if self.bar:
            self.bar.update(int(row["step"]) - self.bar.n)
            self.bar.set_postfix_str(_numbers(row, self.shown).strip())
        elif time.monotonic() - self.printed >= PROGRESS_SECONDS or row["step"] in (1, steps):
            self.printed = time.monotonic()
            print(progress_line(row, steps, self.shown), flush=True)


def progress_line(row: Mapping[str, float], steps: int, shown: tuple[str, ...]) -> str:
    """One step for a human, as `step 30/60  reward 0.82  12 s, about 12 s left`."""
    step, seconds = int(row["step"]), row["seconds"]
    left = seconds / step * (steps - step)
    return f"step {step}/{steps}{_numbers(row, shown)}  {seconds:.0f} s, about {left:.0f} s left"


def _numbers(row: Mapping[str, float], shown: tuple[str, ...]) -> str:
    """The columns `shown`, as `  rollouts/s 8.53`."""
    return "".join(f"  {_name(column)} {row[column]:{_format(row[column])}}" for column in shown if column in row)


def _name(column: str) -> str:
    return column.replace("_per_s", "/s").replace("_", " ")


def _format(value: float) -> str:
    """Three digits, and no exponent where there are more before the point."""
    return ",.0f" if abs(value) >= 1000 else ".3g"
