"""What SFT and GRPO share: device, loading, LoRA, the order of the rows, the batch's split, running, saving."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
)

from components.lib import gpu, machine
from components.lib.files import read_json
from components.lib.generation import loading
from components.lib.model.files import model_directory
from components.lib.recipe.schema import Grpo, Scale, Sft
from components.lib.training import upstream, vram
from components.lib.training.checkpoints import TrainingDir, alarm
from components.lib.training.job import Job
from components.lib.training.kernels import Used, check_kernels
from components.lib.training.survive import Saver, Terminated


def device_arguments() -> dict[str, Any]:
    """Trainer arguments for this machine: bf16 autocast on a CUDA GPU, plain fp32 on a CPU."""
    there = torch.cuda.is_available()
    return {"use_cpu": not there, "bf16": there, "dataloader_pin_memory": there}


def memory_arguments(gradient_checkpointing: bool) -> dict[str, Any]:
    """Trainer arguments that trade time for memory, or not; the old name of the argument warns."""
    return {"gradient_checkpointing": None, "activation_checkpointing": gradient_checkpointing}


def schedule_arguments(settings: Sft | Grpo) -> dict[str, Any]:
    """Trainer arguments for the learning rate; see `survive.rate_share`."""
    return {
        "learning_rate": settings.learning_rate, "warmup_steps": settings.warmup_steps,
        "lr_scheduler_type": settings.schedule,
    }  # fmt: skip


def is_first() -> bool:
    """Whether this is the first, or only, process of a training."""
    return int(os.environ.get("RANK", "0")) == 0


def load_tokenizer(model: str, revision: str) -> PreTrainedTokenizerBase:
    """See `loading.load_tokenizer`."""
    return loading.load_tokenizer(model_directory(model, revision))


def load_model(model: str, revision: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The text model, in fp32 to be trained: master weights in bf16 would round away updates at small learning rates.

    See `loading.load_model`.
    """
    return loading.load_model(model_directory(model, revision), dtype)


def lora(rank: int) -> LoraConfig | None:
    """A LoRA configuration for all linear layers, alpha twice the rank; None for rank 0."""
    if not rank:
        return None
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def split_batch(batch: int, micro_batch: int, processes: int) -> tuple[int, int]:
    """(rows per forward pass, passes per step and process); `ValueError` unless the product over all is `batch`."""
    each = batch // processes
    micro_batch = min(each, micro_batch)
    if each * processes != batch or each % micro_batch:
        valid = ", ".join(str(n) for n in range(1, each + 1) if each % n == 0)
        raise ValueError(
            f"micro_batch_size {micro_batch} does not divide a step's {batch} rows on {processes} process(es); use one "
            f"of {valid}"
        )
    return micro_batch, each // micro_batch


def distributed_arguments(scale: Scale, model: PreTrainedModel) -> dict[str, Any]:
    """Trainer arguments for several processes: DDP, or FSDP2 that splits what `sharding` says."""
    if scale.world == 1:
        return {}
    backend = {"ddp_backend": "nccl" if torch.cuda.is_available() else "gloo", "ddp_find_unused_parameters": False}
    if scale.sharding == "none":
        return backend
    # A model class names the blocks of its vision tower too, which the text model does not have.
    present = {type(module).__name__ for module in model.modules()}
    return backend | {
        "fsdp": True,
        "fsdp_config": {
            "version": 2, "reshard_after_forward": scale.sharding == "full", "state_dict_type": "FULL_STATE_DICT",
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "transformer_layer_cls_to_wrap": sorted(present & set(model._no_split_modules or ())),
        },
    }  # fmt: skip


def one_pass(rows: int, needed: int, seed: str, arrange: Callable[[Random], list[int]] | None = None) -> list[int]:
    """Indices of the rows of a whole run in the order of their use, so that any step of it can be resumed exactly.

    Every row is used once before any is used again; each round has its own order, that of `arrange` if given.
    """
    arrange = arrange or (lambda random: random.sample(range(rows), rows))
    order: list[int] = []
    for round_ in range(-(-needed // rows)):
        order += arrange(Random(f"{seed} {round_}"))
    return order[:needed]


@contextmanager
def old_names() -> Iterator[None]:
    """Mute what TRL 1.16 and PEFT 0.21 cause by asking transformers 5.23 for gradient checkpointing by old names."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "`(is_gradient_checkpointing|gradient_checkpointing_(en|dis)able)`", FutureWarning
        )
        yield


def check_memory(job: Job) -> None:
    """Refuse a training that cannot fit the GPU or, without one, this machine, or whose kernels would refuse.

    Before anything is loaded; says what will be slow, and raises alarm about kernels that a GPU goes without.
    """
    on_gpu = torch.cuda.is_available()
    gib = torch.cuda.get_device_properties(0).total_memory / vram.GIB if on_gpu else machine.memory_gib()
    config = read_json(model_directory(job.model, job.revision) / "config.json")
    for line in gpu.check(config, training=True):
        if line in gpu.missing() and is_first():
            alarm(TrainingDir(job.directory).curves, 0, line.split()[0], line)
        else:
            print(f"{job.stage}: {line}", flush=True)
    if gib is not None:
        device = vram.GPU if on_gpu else vram.CPU
        print(vram.check(config, job.stage, job.settings, gib, job.scale, device), flush=True)


def check_device(trainer: Trainer, job: Job) -> None:
    """Refuse a split that did not happen, a model that cannot go on from its cache, and on a GPU wrong kernels."""
    scale = job.scale
    if scale.world > 1 and scale.sharding != "none" and not trainer.is_fsdp_enabled:
        raise ValueError(f"scale_sharding={scale.sharding} needs GPUs: accelerate has FSDP there alone; set it to none")
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    if not trainer.is_fsdp_enabled:
        loading.check_cache(model)
    if torch.cuda.is_available():
        print(check_kernels(model, trainer.args.device, Used.by(job.settings, scale.world)), flush=True)


def run(trainer: Trainer, saver: Saver, resume: str) -> None:
    """Run a trainer, from the checkpoint `resume` unless it is empty; `Terminated` if SIGTERM ended it early."""
    upstream.check(type(trainer))
    upstream.score_labels_alone()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(saver)
    trainer.train(resume_from_checkpoint=resume or None)
    if saver.stopped:
        raise Terminated


def save_model(
    trainer: Trainer, tokenizer: PreTrainedTokenizerBase, out: Path, best: dict[str, torch.Tensor] | None = None
) -> None:
    """Write a save_pretrained directory: weights (LoRA merged), greedy generation settings with every end, tokenizer.

    Trained weights in `best` take the place of the last ones. All processes call this, the first one writes.
    """
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    weights = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    if not is_first():
        return
    if weights is not None:
        weights |= best or {}
        for name in getattr(model, "all_tied_weights_keys", {}):  # it is saved as the one that it is tied to
            weights.pop(name, None)
    else:
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in (best or {}).items():
                parameters[name].copy_(value)
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=model.generation_config.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.config.use_cache = True
    model.save_pretrained(out, state_dict=weights)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(out)
