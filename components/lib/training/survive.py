"""What makes a transformers Trainer survive: checkpoints by the clock, an end on SIGTERM, a stop at NaN."""

import json
import math
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerCallback

from components.lib.files import write_text
from components.lib.generation.decode import NotFinite
from components.lib.recipe.schema import Training
from components.lib.training.checkpoints import TrainingDir


class Terminated(Exception):
    """SIGTERM came; a checkpoint of the last step was written."""


class Saver(TrainerCallback):
    """Has the trainer write a checkpoint every `save_minutes` and on SIGTERM, and makes it count only when whole.

    The trainer writes to its output directory, the directory's `writing`. All processes of a training save at the same
    step, which the first one's clock decides.
    """

    def __init__(self, directory: TrainingDir, training: Training) -> None:
        self.directory, self.training = directory, training
        self.last = time.monotonic()
        self.signalled = self.stopped = False

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock and listen for SIGTERM."""
        self.last = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._signal)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint if it is time; a training that ends with this step needs none."""
        if control.should_training_stop:
            return
        due = time.monotonic() - self.last >= 60 * self.training.save_minutes
        signalled, due = _any_process([self.signalled, due], args.device)
        control.should_save = signalled or due
        if signalled:
            self.stopped = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Give the checkpoint its name once all processes have written their parts."""
        barrier()
        if state.is_world_process_zero:
            written = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self.directory.keep(written, state.global_step, self.training.keep)
            print(f"saved step {state.global_step}", flush=True)
        barrier()
        self.last = time.monotonic()

    def _signal(self, *_: Any) -> None:
        self.signalled = True


class Guarded(Trainer):
    """A trainer that stops with the batch saved when loss or gradient is NaN or infinite, before the weights change."""

    directory: TrainingDir

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """The learning rate of `rate_share`, where the first step of transformers' schedules would learn nothing."""
        share = partial(rate_share, self.args.lr_scheduler_type, int(self.args.warmup_steps), num_training_steps)
        found: Any = optimizer or self.optimizer
        self.lr_scheduler = LambdaLR(found, share)
        return self.lr_scheduler

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """One forward and backward pass, its loss checked."""
        self.directory.alive.touch()  # a step of many passes may take longer than a worker may be quiet
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            self._stop("loss", float(loss), self.batch_of(inputs))
        self._passed = inputs
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The norm before the optimizer uses the gradient, checked."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and not torch.isfinite(torch.as_tensor(norm)):
            self._stop("gradient norm", float(norm), self.batch_of(self._passed))
        return norm

    def batch_of(self, inputs: Any) -> dict[str, Any]:
        """The tensors that the last forward pass saw."""
        return inputs

    def _stop(self, what: str, value: float, batch: dict[str, Any]) -> None:
        step = self.state.global_step + 1
        path = self.directory.path / "not-finite" / f"step-{step:08}-process-{self.args.process_index}.pt"
        path.parent.mkdir(exist_ok=True)
        kept = {name: part.cpu() for name, part in batch.items() if isinstance(part, torch.Tensor)}
        torch.save(kept, path)
        write_text(path.with_suffix(".json"), json.dumps(self._texts(kept), indent=2, ensure_ascii=False))
        raise NotFinite(
            f"the {what} of step {step} is {value}; the batch is saved as {path} (and its texts as .json); "
            "lower learning_rate, or look at the batch"
        )

    def _texts(self, batch: dict[str, torch.Tensor]) -> dict[str, list[str]]:
        decode = self.processing_class.batch_decode  # type: ignore[union-attr]
        return {name: decode(part) for name, part in batch.items() if name.endswith("_ids")}


def rate_share(schedule: str, warmup: int, steps: int, done: int) -> float:
    """The share of the learning rate with which the step after `done` of `steps` is taken; never 0.

    Linear warm-up over `warmup` steps, the first at 1/warmup, then constant, or down on a line or half a cosine to
    what would be 0 after the last step: transformers' schedules, but for the warm-up, which begins at 0 there.

    >>> [rate_share("linear", 2, 6, done) for done in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if done < warmup:
        return (done + 1) / warmup
    left = (steps - done) / max(1, steps - warmup)
    return {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[schedule]


def barrier() -> None:
    """Wait for the other processes of this training, if there are any."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def _any_process(flags: list[bool], device: torch.device) -> list[bool]:
    """Each flag, true if it is true in any process."""
    if not torch.distributed.is_initialized():
        return flags
    both = torch.tensor([int(flag) for flag in flags], device=device)
    torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in both.tolist()]
