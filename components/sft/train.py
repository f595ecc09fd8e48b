"""SFT: imitate worked conversations, the loss on the assistant's tokens alone, reasoning and end token included."""

import math
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from components import prompts, training
from components.files import read_jsonl
from components.schema import Sft

IGNORED = -100  # the label that carries no loss


def train_sft(
    *, model: str, revision: str, data: Path, model_out: Path, curves_out: Path, checkpoints: Path | None, seed: int,
    settings: Sft,
) -> dict[str, float]:  # fmt: skip
    """Fine-tune `model` on `data`/sft.jsonl and write a model directory and the curve of the loss.

    `model` is a directory, `tiny` or a Hub id at `revision`. A conversation longer than `settings.max_tokens` is
    dropped and counted, never cut. Returns the numbers to log. `ValueError` if no conversation is left or the
    batch sizes do not divide.
    """
    tokenizer = training.load_tokenizer(model, revision)
    rows, dropped = fitting(tokenize_all(tokenizer, read_jsonl(data / "sft.jsonl")), settings.max_tokens)
    if not rows:
        raise ValueError(
            f"{data / 'sft.jsonl'} has no conversation of at most max_tokens = {settings.max_tokens} tokens"
        )
    steps = step_count(len(rows), settings)
    print(f"sft: {len(rows)} conversations, {dropped} dropped as too long, {steps} steps", flush=True)
    recorder = training.Recorder(
        curves_out, {"loss": "loss", "mean_token_accuracy": "token_accuracy", "entropy": "entropy"}, ("loss",)
    )
    with TemporaryDirectory() as scratch, training.old_names():
        trainer = SFTTrainer(
            model=training.load_model(model, revision),
            args=sft_config(settings, steps, seed, checkpoints or Path(scratch)),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=training.lora(settings.lora_rank),
        )
        training.train(trainer, recorder)
    training.save_model(trainer.model, tokenizer, model_out)
    return {
        "conversations": len(rows), "dropped_too_long": dropped, "steps": trainer.state.global_step,
        "loss_first": recorder.mean("loss", last=False), "loss_last": recorder.mean("loss", last=True),
        "token_accuracy": recorder.mean("token_accuracy", last=True), "train_seconds": recorder.rows[-1]["seconds"],
    }  # fmt: skip


def tokenize(tokenizer: PreTrainedTokenizerBase, messages: list[prompts.Message]) -> dict[str, list[int]]:
    """`input_ids` and `labels` of one [system, user, assistant] conversation.

    The prompt's tokens are exactly those that GRPO and evaluation feed; its labels are -100.
    """
    prompt = prompts.render(tokenizer, messages[:-1])
    completion = prompts.completion_text(prompt, messages[-1]["content"], str(tokenizer.eos_token))
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    completion_ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return {"input_ids": prompt_ids + completion_ids, "labels": [IGNORED] * len(prompt_ids) + completion_ids}


def tokenize_all(tokenizer: PreTrainedTokenizerBase, rows: Iterable[dict[str, Any]]) -> list[dict[str, list[int]]]:
    """Every conversation of rows with `messages`."""
    return [tokenize(tokenizer, row["messages"]) for row in rows]


def fitting(rows: list[dict[str, list[int]]], max_tokens: int) -> tuple[list[dict[str, list[int]]], int]:
    """The rows of at most `max_tokens` tokens, and how many are longer."""
    kept = [row for row in rows if len(row["input_ids"]) <= max_tokens]
    return kept, len(rows) - len(kept)


def step_count(rows: int, settings: Sft) -> int:
    """Optimizer steps: as many as the epochs need, at most `max_steps` unless that is 0."""
    needed = max(1, math.ceil(settings.epochs * rows / settings.batch_size))
    return min(needed, settings.max_steps) if settings.max_steps else needed


def sft_config(settings: Sft, steps: int, seed: int, output: Path) -> SFTConfig:
    """TRL's configuration for our settings; rows come tokenized and are never cut or packed."""
    micro_batch, passes = training.split_batch(settings.batch_size, settings.micro_batch_size)
    return SFTConfig(
        output_dir=str(output), max_steps=steps, learning_rate=settings.learning_rate,
        per_device_train_batch_size=micro_batch, gradient_accumulation_steps=passes,
        warmup_steps=settings.warmup_steps, lr_scheduler_type=settings.schedule, weight_decay=settings.weight_decay,
        max_length=None, packing=False,
        dataset_kwargs={"skip_prepare_dataset": True}, seed=seed, data_seed=seed,
        **training.device_arguments(), **training.quiet_arguments(),
        **training.memory_arguments(settings.gradient_checkpointing),
    )  # fmt: skip
