"""Whole steps of GRPO, ours and the published run's, and single passes; their time and memory."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import PrinterCallback

from benchmarks import grpo as speed
from benchmarks.gpu.child import Place
from benchmarks.gpu.decoding import TOGETHER, vram_shape
from benchmarks.gpu.machine import GIB, fresh_peak, now, peak
from benchmarks.shapes import qwen_config
from components.lib.files import write_jsonl
from components.lib.recipe import recipes
from components.lib.recipe.schema import Grpo
from components.lib.recipe.settings import replace
from components.lib.training import common, vram
from components.lib.training.job import Job

STEPS = 2  # the first one is not counted
CARD_GIB = 31.8  # that a 32 GB card has
PROMPT = 192  # tokens


def settings_of(place: Place, **others: Any) -> Grpo:
    """Those of the recipe qwen3.5-0.8b, every completion of 512 tokens; of a small step in a dry run."""
    small = {"prompts_per_step": 2, "generations": 4, "micro_batch_size": 4, "gradient_checkpointing": False}
    told = {"max_new_tokens": place.of(512, 8), "screen_samples": 0, "plateau_steps": 0, "max_steps": STEPS}
    return replace(recipes.QWEN.grpo, **{**told, **place.of({}, small), **others})


def job_of(place: Place, settings: Grpo, directory: Path) -> Job:
    """A training of the run's model on problems of the demo."""
    write_jsonl(directory / "problems.jsonl", speed.problems(settings.prompts_per_step * settings.max_steps))
    return Job(
        stage="grpo", model=place.model, revision="main", data=directory, directory=directory, seed=0,
        settings=settings, training=recipes.TINY.training, scale=recipes.TINY.scale,
    )  # fmt: skip


def trained(place: Place, settings: Grpo, make: Any) -> dict[str, Any]:
    """Train so many steps; rollouts/s after the first one, where the time went, and the peaks in GiB."""
    with TemporaryDirectory() as scratch, common.old_names():
        trainer = make(job_of(place, settings, Path(scratch)))
        clock, generate, writing = speed.Clock(), trainer._generate, 0.0

        def watched(*arguments: Any, **named: Any) -> Any:
            nonlocal writing
            began, made = now(place), generate(*arguments, **named)
            if place.gpu:
                writing = max(writing, torch.cuda.max_memory_allocated() / GIB)
                torch.cuda.reset_peak_memory_stats()
            clock.seconds["generation"] += now(place) - began
            return made

        trainer._generate = watched
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        fresh_peak(place)
        trainer.train()
    count = clock.steps * settings.prompts_per_step * settings.generations
    seconds = max(1e-6, clock.seconds["all"])
    found = {
        "rollouts_s": round(count / seconds, 2), "step_s": round(seconds / clock.steps, 2),
        "generation_s": round(clock.seconds["generation"] / clock.steps, 2),
    }  # fmt: skip
    return found | ({"writing_gib": round(writing, 2), "training_gib": peak(place)["peak_gib"]} if place.gpu else {})


def step(place: Place) -> Iterator[dict[str, Any]]:
    """A step of the recipe, its memory against the estimate."""
    settings = settings_of(place)
    rows, tokens = settings.prompts_per_step * settings.generations, settings.max_new_tokens
    yield {"what": f"{rows} completions of {tokens} tokens", **trained(place, settings, speed.ours)}
    if not place.gpu:
        yield {"what": "peak against the estimate", "skipped": "a GPU's allocator is asked for it"}
        return
    parts = vram.estimate(vram_shape(qwen_config()), settings, recipes.QWEN.scale)
    kept = parts["total"] - parts["context"] - max(parts["while training"], parts["while writing rollouts"])
    yield {
        "what": "the same by the estimate, and what the allocator had",
        "writing_gib": round((kept + parts["while writing rollouts"]) / GIB, 2),
        "training_gib": round((kept + parts["while training"]) / GIB, 2),
        "reserved_gib": round(torch.cuda.max_memory_reserved() / GIB, 2),
    }


def capped(place: Place) -> Iterator[dict[str, Any]]:
    """The same step with the memory of a 32 GB card."""
    whole = torch.cuda.get_device_properties(0).total_memory / GIB if place.gpu else 0
    if whole <= CARD_GIB:
        yield {"what": "a 32 GB card", "skipped": "this one is no larger" if place.gpu else "no GPU"}
        return
    usable = vram.GPU.usable * CARD_GIB - vram.GPU.context_gib
    torch.cuda.set_per_process_memory_fraction(usable / whole)
    yield {
        "what": f"a step with {usable:.1f} GiB, as on a 32 GB card",
        **trained(place, settings_of(place), speed.ours),
    }


def reference(place: Place) -> Iterator[dict[str, Any]]:
    """The published run's configuration, three steps, with shorter completions for the time's sake."""
    others = {"max_steps": 3, "max_new_tokens": place.of(128, 8), **speed.REFERENCE}
    settings = settings_of(place, **others)
    what = f"the published run's configuration, 8 completions of {settings.max_new_tokens} tokens, 3 steps"
    yield {"what": what, **trained(place, settings, speed.plain)}


def passes(place: Place) -> Iterator[dict[str, Any]]:
    """Forward and backward of so many rows, with and without gradient checkpointing; there is no optimizer."""
    settings = settings_of(place)
    with TemporaryDirectory() as scratch, common.old_names():
        trainer = speed.ours(job_of(place, settings, Path(scratch)))
        model = trainer.model.to(place.device).train()
        for checkpointing in (True, False):
            trainer.args.activation_checkpointing = checkpointing
            trainer.__dict__.pop("shares_prompts", None)  # it may be remembered
            (model.activation_checkpointing_enable if checkpointing else model.activation_checkpointing_disable)()
            for rows in place.of((8, 16, 32), (4, 8)):
                try:
                    told = one_pass(place, trainer, rows, settings.max_new_tokens)
                except torch.OutOfMemoryError:
                    told = {"what": f"micro-batch {rows}", "memory": "ran out"}
                yield told | {"checkpointing": checkpointing}
                model.zero_grad(set_to_none=True)


def one_pass(place: Place, trainer: Any, rows: int, tokens: int) -> dict[str, Any]:
    """The second of two passes, the first of which tunes the kernels."""
    vocabulary = trainer.model.config.get_text_config().vocab_size
    prompts = torch.randint(10, vocabulary, (-(-rows // TOGETHER), place.of(PROMPT, 12)), device=place.device)
    written = torch.randint(10, vocabulary, (rows, tokens), device=place.device)
    ids = torch.cat([prompts.repeat_interleave(TOGETHER, 0)[:rows], written], dim=1)
    seconds = 0.0
    for _ in range(2):
        fresh_peak(place)
        began = now(place)
        with torch.autocast(place.device, torch.bfloat16, enabled=place.gpu):
            trainer._get_per_token_logps_and_entropies(trainer.model, ids, torch.ones_like(ids), tokens)[
                0
            ].sum().backward()
        seconds = now(place) - began
    return {
        "what": f"micro-batch {rows}, {ids.shape[1]} tokens", "ms": round(1e3 * seconds),
        "tokens_s": round(ids.numel() / seconds), **peak(place),
    }  # fmt: skip
