"""Keeps the weights that do best on the plateau split, and stops when they get no better."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase, TrainerCallback

from components import prompts
from components.files import read_jsonl
from components.grpo import rewards
from components.schema import Grpo

BATCH = 64  # problems answered together


class Plateau(TrainerCallback):
    """Every `plateau_steps` answers the plateau problems greedily; one row per evaluation in `out`.

    The best weights wait in memory on the CPU. Training stops after `plateau_patience` evaluations without
    improvement. With `plateau_steps` 0 it does nothing. `ValueError` if there is no plateau problem to use.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: Grpo, data: Path, out: Path) -> None:
        self.tokenizer, self.settings, self.out = tokenizer, settings, out
        self.problems = list(islice(read_jsonl(data), settings.plateau_problems)) if settings.plateau_steps else []
        if settings.plateau_steps and not self.problems:
            raise ValueError(f"{data} holds no problem; raise standardize_plateau_share or set grpo_plateau_steps=0")
        self.best, self.best_step, self.failures = -1.0, None, 0
        self.weights: dict[str, torch.Tensor] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Evaluate if it is time, keep the weights if they are the best so far, stop if patience is over."""
        if not self.settings.plateau_steps or state.global_step % self.settings.plateau_steps:
            return
        began = time.monotonic()
        accuracy = self.accuracy(model)
        if accuracy > self.best:
            self.best, self.best_step, self.failures = accuracy, state.global_step, 0
            self.weights = {name: p.detach().cpu().clone() for name, p in model.named_parameters() if p.requires_grad}
        else:
            self.failures += 1
        self._record(state.global_step, accuracy, time.monotonic() - began)
        if self.settings.plateau_patience and self.failures >= self.settings.plateau_patience:
            print(f"no better for {self.failures} evaluations: back to step {self.best_step}", flush=True)
            control.should_training_stop = True

    def accuracy(self, model: Any) -> float:
        """The share of plateau problems answered right, greedily."""
        right = 0.0
        for start in range(0, len(self.problems), BATCH):
            right += sum(self._answer(model, self.problems[start : start + BATCH]))
        return right / len(self.problems)

    def restore(self, model: Any) -> None:
        """Put the best weights back into `model`, if there are any."""
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, best in self.weights.items():
                parameters[name].copy_(best)

    def _answer(self, model: Any, rows: list[dict[str, Any]]) -> list[float]:
        texts = [prompts.render(self.tokenizer, prompts.question_messages(row["question"])) for row in rows]
        batch = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
        config = GenerationConfig(
            do_sample=False, max_new_tokens=self.settings.max_new_tokens, pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=model.generation_config.eos_token_id or self.tokenizer.eos_token_id,
        )  # fmt: skip
        with _inference(model):
            ids = model.generate(**batch, generation_config=config)[:, batch["input_ids"].shape[1] :]
        ends = torch.tensor(config.eos_token_id, device=ids.device)
        finished = torch.isin(ids, ends).any(dim=1).tolist()
        completions = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        golds = [row["gold"] for row in rows]
        return rewards.correctness(completions, golds, finished, prefilled=prompts.prefilled(texts[0]))

    def _record(self, step: int, accuracy: float, seconds: float) -> None:
        row = {"step": step, "accuracy": accuracy, "n": len(self.problems), "seconds": round(seconds, 3)}
        with self.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"step {step}: {accuracy:.1%} of {len(self.problems)} plateau problems right", flush=True)


@contextmanager
def _inference(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
