"""What SFT and GRPO share: device, loading, LoRA, the batch's split, the curve of a run, saving."""

import json
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
)
from transformers.utils.logging import disable_progress_bar

from components.models import model_directory

PROGRESS_SECONDS = 5.0


def device_arguments() -> dict[str, Any]:
    """Trainer arguments for this machine: bf16 autocast on a CUDA GPU, plain fp32 on a CPU."""
    gpu = torch.cuda.is_available()
    return {"use_cpu": not gpu, "bf16": gpu, "dataloader_pin_memory": gpu}


def memory_arguments(gradient_checkpointing: bool) -> dict[str, Any]:
    """Trainer arguments that trade time for memory, or not; the old name of the argument warns."""
    return {"gradient_checkpointing": None, "activation_checkpointing": gradient_checkpointing}


def quiet_arguments() -> dict[str, Any]:
    """Trainer arguments that leave logging to `Recorder` and saving to `save_model`."""
    return {"logging_steps": 1, "disable_tqdm": True, "report_to": "none", "save_strategy": "no"}


def load_tokenizer(model: str, revision: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, padding on the left; without a padding token it pads with the end token."""
    tokenizer = AutoTokenizer.from_pretrained(model_directory(model, revision), padding_side="left")
    if not tokenizer.chat_template:
        raise ValueError(f"the tokenizer of {model!r} has no chat template; choose an instruction-tuned model")
    if tokenizer.eos_token is None:
        raise ValueError(f"the tokenizer of {model!r} has no end token; set eos_token in its tokenizer_config.json")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(model: str, revision: str) -> PreTrainedModel:
    """The text model in fp32: master weights in bf16 would round away updates at small learning rates.

    A vision-language checkpoint is loaded without its vision tower.
    """
    if not sys.stderr.isatty():
        disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(
        model_directory(model, revision), dtype=torch.float32, attn_implementation="sdpa"
    )


def lora(rank: int) -> LoraConfig | None:
    """A LoRA configuration for all linear layers, alpha twice the rank; None for rank 0."""
    if not rank:
        return None
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def split_batch(batch: int, micro_batch: int) -> tuple[int, int]:
    """(rows per forward pass, passes per optimizer step); `ValueError` unless the product can be `batch`."""
    micro_batch = min(batch, micro_batch)
    if batch % micro_batch:
        valid = ", ".join(str(n) for n in range(1, batch + 1) if batch % n == 0)
        raise ValueError(f"micro_batch_size {micro_batch} does not divide a step's {batch} rows; use one of {valid}")
    return micro_batch, batch // micro_batch


class Recorder(TrainerCallback):
    """Writes every step to `curves.jsonl` in `directory` and prints one line per interval.

    `columns` maps the trainer's log names to the curve's; a name that a step did not log is left out of its row.
    `shown` names the columns of a progress line.
    """

    def __init__(self, directory: Path, columns: Mapping[str, str], shown: tuple[str, ...]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "curves.jsonl"
        self.path.write_text("", encoding="utf-8")
        self.columns, self.shown = columns, shown
        self.began = self.printed = time.monotonic()
        self.rows: list[dict[str, float]] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self.began = self.printed = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Record one step; the summary that the trainer logs at the end is none."""
        if not logs or "loss" not in logs:
            return
        row = {"step": state.global_step}
        row |= {ours: float(logs[name]) for name, ours in self.columns.items() if logs.get(name) is not None}
        row["seconds"] = round(time.monotonic() - self.began, 3)
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if time.monotonic() - self.printed >= PROGRESS_SECONDS or state.global_step in (1, state.max_steps):
            self.printed = time.monotonic()
            print(progress_line(row, state.max_steps, self.shown), flush=True)

    def mean(self, column: str, *, last: bool) -> float:
        """The mean of a column over the last or the first tenth of the steps."""
        values = [row[column] for row in self.rows if column in row]
        count = max(1, len(values) // 10)
        part = values[-count:] if last else values[:count]
        return sum(part) / len(part)


def progress_line(row: Mapping[str, float], steps: int, shown: tuple[str, ...]) -> str:
    """One step for a human, as `step 30/60  reward 0.82  12 s, about 12 s left`."""
    step, seconds = int(row["step"]), row["seconds"]
    numbers = "".join(f"  {name.replace('_', ' ')} {row[name]:.3g}" for name in shown if name in row)
    return f"step {step}/{steps}{numbers}  {seconds:.0f} s, about {seconds / step * (steps - step):.0f} s left"


@contextmanager
def old_names() -> Iterator[None]:
    """Mute the one warning that TRL 1.16 and PEFT 0.21 cause by asking transformers 5.23 by an old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def train(trainer: Trainer, recorder: Recorder) -> None:
    """Run a trainer with our lines in place of its own."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(recorder)
    trainer.train()


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write a save_pretrained directory: weights (LoRA merged), generation settings that are greedy, tokenizer."""
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    ends = model.generation_config.eos_token_id
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=list(dict.fromkeys([tokenizer.eos_token_id, *ends])),
        pad_token_id=tokenizer.pad_token_id,
    )
    model.config.use_cache = True
    model.save_pretrained(out)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(out)
