"""Keeps the weights that do best on the plateau split, and stops when they get no better."""

import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase, TrainerCallback

from components.grpo import rewards
from components.grpo.rollouts import Rollouts, bare, encode, whole
from components.lib.answers.kinds import Question
from components.lib.files import read_jsonl, sync_tree
from components.lib.generation import prompts
from components.lib.training.checkpoints import TrainingDir, append_row, step_of, whole_rows
from components.lib.training.common import is_first
from components.lib.training.handed_on import PLATEAU, best
from components.lib.training.job import Job


class Plateau(TrainerCallback):
    """Every `plateau_steps`, and at the end, answers the plateau problems greedily; a row each in plateau.jsonl.

    Of a job whose candidate is the best it does so before the first step too: what it began with competes as step 0.
    The best weights lie in the training's `best`. Training stops after `plateau_patience` evaluations without
    improvement. With `plateau_steps` 0 it does nothing. What the rows say is all its memory, so a resumed run goes on
    with it. `ValueError` if there is no plateau problem to use.
    """

    def __init__(self, job: Job, tokenizer: PreTrainedTokenizerBase, rollouts: Rollouts) -> None:
        self.settings, self.tokenizer, self.rollouts = job.settings, tokenizer, rollouts
        self.directory, data = TrainingDir(job.directory), job.data / "plateau.jsonl"
        self.out, self.kept = self.directory.curves / PLATEAU, self.directory.path / "best"
        wanted = self.settings.plateau_problems if self.settings.plateau_steps else 0
        self.from_start = bool(wanted) and job.candidate == "best"
        self.problems = list(islice(read_jsonl(data), wanted)) if wanted else []
        if wanted and not self.problems:
            raise ValueError(f"{data} holds no problem; raise standardize_plateau_share or set grpo_plateau_steps=0")
        self.rows: list[dict[str, Any]] = whole_rows(self.out) if self.out.exists() else []

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The row of the best evaluation so far; see `handed_on.best`."""
        return best(self.rows)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Evaluate what the training begins with, if it competes; a resumed training has done so."""
        if self.from_start and not self.rows:
            self._evaluate(state.global_step, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Evaluate if it is time, and stop if patience is over."""
        every, step = self.settings.plateau_steps, state.global_step
        if not every or (step % every and step != self.settings.max_steps):
            return
        self._evaluate(step, model)
        assert self.best is not None
        failures = sum(row["step"] > self.best["step"] for row in self.rows)
        if self.settings.plateau_patience and failures >= self.settings.plateau_patience:
            print(f"no better for {failures} evaluations: back to step {self.best['step']}", flush=True)
            control.should_training_stop = True

    def _evaluate(self, step: int, model: Any) -> None:
        """Measure the weights of a step, and keep them if they are the best so far."""
        began = time.monotonic()
        row = {"step": step, "accuracy": self.accuracy(model), "n": len(self.problems)}
        self.rows.append(row | {"seconds": round(time.monotonic() - began, 3)})
        if self.best == self.rows[-1]:
            self._keep(step, model)
        self._record(self.rows[-1])

    def accuracy(self, model: Any) -> float:
        """The share of plateau problems answered right, greedily; with several processes each answers its share."""
        rank, size = (
            (torch.distributed.get_rank(), torch.distributed.get_world_size())
            if torch.distributed.is_initialized()
            else (0, 1)
        )
        right = torch.tensor(float(sum(self._answer(model, self.problems[rank::size]))), device=model.device)
        if size > 1:
            torch.distributed.all_reduce(right)
        return right.item() / len(self.problems)

    def weights(self) -> dict[str, torch.Tensor] | None:
        """The best weights by name, if there are any."""
        return load_file(self._file(self.best["step"])) if self.best and is_first() else None

    def _answer(self, model: Any, rows: list[dict[str, Any]]) -> list[float]:
        if not rows:  # the other processes may need this one's shards of the weights
            rows = self.problems[:1]
            return [0.0 * right for right in self._answer(model, rows)]
        ids = encode(self.tokenizer, [prompts.asking(row) for row in rows])
        written = self.rollouts.write(bare(model), ids, 0, greedy=True)
        finished = [completion[-1] in self.rollouts.text.end for completion in written]
        texts = [self.rollouts.text.decode(completion) for completion in written]
        prefilled = prompts.prefilled(prompts.render(self.tokenizer, prompts.asking(rows[0])))
        questions = [Question.of(row, prefilled=prefilled) for row in rows]
        return [float(judged.correct) for judged in rewards.judgements(texts, questions, finished)]

    def _file(self, step: int) -> Path:
        return self.kept / f"step-{step:08}.safetensors"

    def _keep(self, step: int, model: Any) -> None:
        """Write the weights, and drop those that no checkpoint would come back to; all processes give their shards."""
        named = {name: whole(p.detach()) for name, p in bare(model).named_parameters() if p.requires_grad}
        if not is_first():
            return
        self.kept.mkdir(exist_ok=True)
        weights = {name: p.cpu().contiguous() for name, p in named.items()}
        save_file(weights, self._file(step))
        sync_tree(self.kept)
        oldest = min((step_of(path) for path in self.directory.steps()), default=step)
        before = best([row for row in self.rows if row["step"] <= oldest])
        needed = before["step"] if before else step
        for path in self.kept.glob("step-*.safetensors"):
            if int(path.stem.removeprefix("step-")) < needed:
                path.unlink()

    def _record(self, row: dict[str, Any]) -> None:
        if not is_first():
            return
        append_row(self.out, row)
        print(f"step {row['step']}: {row['accuracy']:.1%} of {row['n']} plateau problems right", flush=True)
