"""What a training really keeps in memory, against the estimate of lib/training/vram.py.

Run `OMP_NUM_THREADS=2 python benchmarks/vram.py --output benchmarks/vram.md`. On a CPU: the bytes that autograd saves
per token in one layer of the true width, under bf16 autocast, as the slope between two lengths. On a GPU also the
peak of a real GRPO step of the recipe qwen3.5-0.8b with random weights, in the allocator's own account.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.lib.recipe.settings import replace

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from transformers import PrinterCallback, Qwen3_5ForCausalLM

from benchmarks import grpo as speed
from benchmarks.shapes import machine, qwen_config, save_random
from components.lib.files import write_jsonl, write_text
from components.lib.recipe import recipes
from components.lib.training import common, vram
from components.lib.training.job import Job

LENGTHS = (256, 768)  # tokens
KINDS = {"full_attention": "gated attention", "linear_attention": "gated DeltaNet"}


def main() -> None:
    """Measure, print the table in Markdown, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    asked = parser.parse_args()
    text = report()
    print(text)
    if asked.output:
        write_text(asked.output, text)


def report() -> str:
    """The tables, with what they were measured on."""
    lines = [
        "# Memory of training", "",
        f"{machine()}, commit {speed.commit()}. Bytes that autograd saves for a token in one layer (hidden size 1024, "
        "bf16 autocast), and what lib/training/vram.py counts.", "",
        "| layer | saved, torch path | counted |", "|---|---:|---:|",
    ]  # fmt: skip
    for kind, label in KINDS.items():
        lines.append(f"| {label} | {saved_per_token(kind):,.0f} | {counted_per_token(kind):,.0f} |")
    lines += [
        "",
        "The torch path of a DeltaNet layer saves more than flash-linear-attention's kernels do, which the count is "
        "for; it has not been held against them.",
        "",
    ]
    if torch.cuda.is_available():
        peak, counted = peak_of_a_step()
        lines.append(f"Peak of a GRPO step: {peak:.1f} GiB; counted: {counted:.1f} GiB ({counted / peak:.2f} of it).")
    else:
        lines.append("Peak of a GRPO step on a GPU: not measured, there was none.")
    return "\n".join([*lines, ""])


def saved_per_token(kind: str) -> float:
    """Bytes that one more token adds to what one layer of this kind keeps."""
    short, long = (saved(kind, tokens) for tokens in LENGTHS)
    return (long - short) / (LENGTHS[1] - LENGTHS[0])


def saved(kind: str, tokens: int) -> float:
    """Bytes saved by a second layer of this kind, the model's parameters left out."""
    return _saved(kind, 2, tokens) - _saved(kind, 1, tokens)


def _saved(kind: str, layers: int, tokens: int) -> int:
    config = qwen_config(layers, vocabulary=1024)
    config.layer_types = [kind] * layers
    model = Qwen3_5ForCausalLM(config).train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, int] = {}
    kept = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # so that no address is used twice
        return tensor

    ids = torch.randint(0, 1024, (1, tokens))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", torch.bfloat16):
        model.model(input_ids=ids, use_cache=False).last_hidden_state.sum()
    return sum(found.values())


def counted_per_token(kind: str) -> float:
    """The same by the estimate."""
    shape = vram.shape_of(qwen_config(1).to_dict())
    assert shape is not None
    linear = kind == "linear_attention"
    return vram._saved(
        dataclasses.replace(shape, attention_layers=0 if linear else 1, linear_layers=int(linear)), 1, False, vram.GPU
    )


def peak_of_a_step() -> tuple[float, float]:
    """GiB that two steps of the recipe took at their peak on this GPU, and what was counted."""
    settings = replace(recipes.QWEN.grpo, max_steps=2, screen_samples=0, plateau_steps=0)
    with TemporaryDirectory() as scratch, common.old_names():
        directory = Path(scratch)
        write_jsonl(directory / "problems.jsonl", speed.problems(64))
        job = Job(
            stage="grpo", model=str(save_random(directory / "model", qwen_config())), revision="main", data=directory,
            directory=directory, seed=0, settings=settings, training=recipes.QWEN.training, scale=recipes.QWEN.scale,
        )  # fmt: skip
        trainer: Any = speed.ours(job)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    shape = vram.shape_of(qwen_config().to_dict())
    assert shape is not None
    parts = vram.estimate(shape, settings, recipes.QWEN.scale)
    return torch.cuda.max_memory_reserved() / vram.GIB, (parts["total"] - parts["context"]) / vram.GIB


if __name__ == "__main__":
    main()
