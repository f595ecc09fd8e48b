"""SFT: imitate worked conversations, the loss on the assistant's tokens alone, reasoning and end token included."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from components.lib.files import read_jsonl
from components.lib.generation import prompts
from components.lib.generation.context import check_conversations
from components.lib.model.ends import ends_of
from components.lib.model.files import model_directory
from components.lib.recipe.schema import Sft
from components.lib.training import common, watch
from components.lib.training.checkpoints import TrainingDir
from components.lib.training.job import Job
from components.lib.training.sharing import can_share, read_once
from components.lib.training.survive import Guarded, Saver

IGNORED = -100  # the label that carries no loss
WORTH = 8  # tokens; reading fewer apart saves nothing
COLUMNS = {
    "loss": "loss", "mean_token_accuracy": "token_accuracy", "entropy": "entropy", "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}  # fmt: skip

Tokens = dict[str, list[int]]


class SftTrainer(Guarded, SFTTrainer):
    """TRL's trainer under guard; what all conversations of a pass begin with, as the system turn, is read once."""

    @cached_property
    def shares_beginnings(self) -> bool:
        """Whether the rows of a pass can share the reading of their beginning."""
        return can_share(self)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's loss over `inputs` (tensors of rows x tokens, padded on the right)."""
        begin = common_beginning(inputs)
        if begin >= WORTH and not return_outputs and self.shares_beginnings:
            rows = torch.zeros(len(inputs["input_ids"]), dtype=torch.long, device=inputs["input_ids"].device)
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            cache = read_once(self, model, ids[:1, :begin], mask[:1, :begin], rows)
            inputs = {"input_ids": ids[:, begin:], "attention_mask": mask, "labels": inputs["labels"][:, begin:]}
            model = partial(_going_on, model, cache)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


def _going_on(model: Any, cache: dict[str, Any], **inputs: Any) -> Any:
    return model(**{**inputs, **cache})


def common_beginning(inputs: dict[str, torch.Tensor]) -> int:
    """How many tokens all rows of a batch begin with alike, none of which nor the next one carries loss."""
    ids, labels = inputs["input_ids"], inputs["labels"]
    alike = ((ids == ids[0]) & (labels == IGNORED)).all(dim=0)
    common = int(alike.long().cumprod(dim=0).sum())
    return max(0, common - 1) if len(ids) > 1 else 0


def train(job: Job) -> dict[str, float]:
    """Fine-tune the job's model on its data/sft.jsonl; leaves the curves, and the model in `preparing`.

    A conversation longer than `max_tokens` is dropped and counted, never cut. Returns the numbers to log.
    `ValueError` if no conversation is left, the batch sizes do not divide, or `max_tokens` exceeds the context.
    """
    settings, directory = job.settings, TrainingDir(job.directory)
    base = model_directory(job.model, job.revision)
    check_conversations(base, settings.max_tokens)
    common.check_memory(job)
    tokenizer = common.load_tokenizer(job.model, job.revision)
    path, end = job.data / "sft.jsonl", ends_of(base).taught
    rows, dropped = fitting(tokenize_all(tokenizer, read_jsonl(path), end), settings.max_tokens)
    if not rows:
        raise ValueError(f"{path} has no conversation of at most max_tokens = {settings.max_tokens} tokens")
    steps = step_count(len(rows), settings)
    print(f"sft: {len(rows)} conversations, {dropped} dropped as too long, {steps} steps", flush=True)
    lengths = [len(row["input_ids"]) for row in rows]
    order = order_of(lengths, steps, job)
    work = partial(read, [lengths[index] for index in order], settings.batch_size)
    recorder = watch.Recorder(directory.curves, COLUMNS, ("loss", "tokens_per_s"), work)
    model = common.load_model(job.model, job.revision)
    with common.old_names():
        trainer = SftTrainer(
            model=model,
            args=sft_config(job, steps, model),
            train_dataset=Dataset.from_list(rows).select(order),
            processing_class=tokenizer,
            peft_config=common.lora(settings.lora_rank),
        )
        trainer.directory = directory
        common.check_device(trainer, job)
        trainer.add_callback(recorder)
        common.run(trainer, Saver(directory, job.training), job.resume)
    common.save_model(trainer, tokenizer, directory.preparing / "model")
    return {
        "conversations": len(rows), "dropped_too_long": dropped, "steps": trainer.state.global_step,
        "loss_first": recorder.mean("loss", last=False), "loss_last": recorder.mean("loss", last=True),
        "token_accuracy": recorder.mean("token_accuracy", last=True), "train_seconds": recorder.seconds,
    }  # fmt: skip


def read(lengths: Sequence[int], batch: int, row: Mapping[str, float]) -> dict[str, float]:
    """The tokens of the conversations of a step, by the row of its curves; `lengths` are in the order of their use."""
    step = int(row["step"])
    return {"tokens": sum(lengths[(step - 1) * batch : step * batch])}


def order_of(lengths: list[int], steps: int, job: Job) -> list[int]:
    """Indices of the conversations of the whole run; those of one step lie by length, so that passes pad little."""
    batch = job.settings.batch_size
    order = common.one_pass(len(lengths), steps * batch, f"sft {job.seed}")
    parts = (order[start : start + batch] for start in range(0, len(order), batch))
    return [index for part in parts for index in sorted(part, key=lambda i: -lengths[i])]


def tokenize(tokenizer: PreTrainedTokenizerBase, messages: list[prompts.Message], end: str) -> Tokens:
    """`input_ids` and `labels` of one [system, user, assistant] conversation, which `end` ends.

    The prompt's tokens are exactly those that GRPO and evaluation feed; its labels are -100.
    """
    prompt = prompts.render(tokenizer, messages[:-1])
    completion = prompts.completion_text(prompt, messages[-1]["content"], end)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    completion_ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return {"input_ids": prompt_ids + completion_ids, "labels": [IGNORED] * len(prompt_ids) + completion_ids}


def tokenize_all(tokenizer: PreTrainedTokenizerBase, rows: Iterable[dict[str, Any]], end: str) -> list[Tokens]:
    """Every conversation of rows with `messages`."""
    return [tokenize(tokenizer, row["messages"], end) for row in rows]


def fitting(rows: list[Tokens], max_tokens: int) -> tuple[list[Tokens], int]:
    """The rows of at most `max_tokens` tokens, and how many are longer."""
    kept = [row for row in rows if len(row["input_ids"]) <= max_tokens]
    return kept, len(rows) - len(kept)


def step_count(rows: int, settings: Sft) -> int:
    """Optimizer steps: as many as the epochs need, at most `max_steps` unless that is 0."""
    needed = max(1, math.ceil(settings.epochs * rows / settings.batch_size))
    return min(needed, settings.max_steps) if settings.max_steps else needed


def sft_config(job: Job, steps: int, model: PreTrainedModel) -> SFTConfig:
    """TRL's configuration for our settings; rows come tokenized and in order, and are never cut or packed."""
    settings = job.settings
    micro_batch, passes = common.split_batch(settings.rows_per_step, settings.micro_batch_size, job.scale.world)
    return SFTConfig(
        output_dir=str(TrainingDir(job.directory).writing), max_steps=steps,
        per_device_train_batch_size=micro_batch, gradient_accumulation_steps=passes,
        weight_decay=settings.weight_decay, **common.schedule_arguments(settings),
        max_length=None, packing=False, train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True}, seed=job.seed, data_seed=job.seed,
        **common.device_arguments(), **common.distributed_arguments(job.scale, model),
        **watch.reporting_arguments(TrainingDir(job.directory)),
        **common.memory_arguments(settings.gradient_checkpointing),
    )  # fmt: skip
