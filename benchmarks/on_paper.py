"""What limits GRPO on 1, 8 and 64 GPUs, on paper: the table of docs/scale.md.

Run `python benchmarks/on_paper.py`. Nothing here is measured. A step of the recipe is counted as bytes over bandwidth
and operations over rate; see `Gpu` for the numbers of the hardware and the constants for those that are assumed.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from components.lib.recipe.settings import replace

sys.path.insert(0, str(Path(__file__).parents[1]))

from components.lib.recipe import recipes
from components.lib.recipe.schema import Grpo
from components.lib.training import vram
from components.lib.training.vram import BF16, FP32, GIB, Shape

COUNTS = (1, 8, 64)
IN_A_NODE = 8  # GPUs
RECIPE = recipes.QWEN.grpo
MEAN_TOKENS = 300  # of a completion; the longest of a step reaches max_new_tokens
CONTEXT = vram.PROMPT_TOKENS + MEAN_TOKENS / 2  # tokens that an average decoding step reads
DECODE_FLOOR_S = 2e-3  # a decoding step of one row cannot be shorter: kernels to launch, with a compiled graph
OPERATIONS = 8  # per weight and token of training: forward, backward, and forward again with checkpointing
TRAINING_RATE = 0.4  # share of the GPU's peak that training reaches


@dataclass(frozen=True)
class Gpu:
    """A GPU and its surroundings, from the vendor's data sheets; links as bytes per second and direction."""

    name: str
    memory_gib: float
    bandwidth: float  # bytes per second
    peak: float  # dense bf16 operations per second
    link: float  # of one GPU to the others of its node
    network: float  # of one node


GPUS = (
    Gpu("RTX 5090", 31.5, 1.79e12, 209e12, 50e9, 12.5e9),  # PCIe 5 x16 without NVLink, 100 Gb/s Ethernet
    Gpu("H100 SXM", 79.6, 3.35e12, 989e12, 450e9, 400e9),  # NVLink, eight 400 Gb/s adapters
)
SMALL = Shape(
    hidden=1024, mlp=3584, vocabulary=248_320, tied=True, attention_layers=6, linear_layers=18, query=2048,
    key_value=512, gated=True, linear_key=2048, linear_value=2048, linear_state=16 * 128 * 128,
)  # fmt: skip
LARGE = Shape(  # Qwen2.5-7B
    hidden=3584, mlp=18_944, vocabulary=152_064, tied=False, attention_layers=28, linear_layers=0, query=3584,
    key_value=512, gated=False, linear_key=0, linear_value=0, linear_state=0,
)  # fmt: skip


def generation_s(shape: Shape, gpu: Gpu, recipe: Grpo, count: int) -> float:
    """Seconds to write a step's completions: weights once per token, caches and states of the rows still writing."""
    rows = recipe.prompts_per_step * recipe.generations / count
    key_values = BF16 * 2 * shape.key_value * shape.attention_layers * CONTEXT
    states = 2 * FP32 * shape.linear_state * shape.linear_layers  # read and written
    moved = recipe.max_new_tokens * BF16 * shape.parameters + rows * MEAN_TOKENS * (key_values + states)
    return max(moved / gpu.bandwidth, recipe.max_new_tokens * DECODE_FLOOR_S)


def training_s(shape: Shape, gpu: Gpu, recipe: Grpo, count: int) -> float:
    """Seconds of forward and backward passes."""
    # A group's completions share the pass over their prompt.
    tokens = recipe.prompts_per_step * (vram.PROMPT_TOKENS + recipe.generations * MEAN_TOKENS) / count
    return OPERATIONS * shape.parameters * tokens / (TRAINING_RATE * gpu.peak)


def ring_s(size: float, gpu: Gpu, count: int) -> float:
    """Seconds to bring `size` bytes from every GPU to every other: a ring in each node, and one between the nodes."""
    here, nodes = min(count, IN_A_NODE), max(1, count // IN_A_NODE)
    return (here - 1) / here * size / gpu.link + (nodes - 1) / nodes * size / gpu.network


def gradient_s(shape: Shape, gpu: Gpu, recipe: Grpo, count: int, sharded: bool) -> float:
    """Seconds of gradient traffic, once a step; with split weights also to gather them, twice a micro-batch."""
    summed = 2 * ring_s(FP32 * shape.parameters, gpu, count)
    if not sharded:
        return summed
    passes = max(1, recipe.prompts_per_step * recipe.generations // count // recipe.micro_batch_size)
    return summed / 2 + passes * (2 * ring_s(BF16 * shape.parameters, gpu, count) + summed / 2)


def sync_s(shape: Shape, gpu: Gpu, count: int, sharded: bool) -> float:
    """Seconds to renew the copy that writes rollouts: in place, or gathered from all where the weights are split."""
    return ring_s(BF16 * shape.parameters, gpu, count) if sharded else BF16 * 2 * shape.parameters / gpu.bandwidth


def row(name: str, shape: Shape, gpu: Gpu, recipe: Grpo, count: int, alone: float) -> tuple[str, float]:
    """One line of the table, and the rollouts per second; `alone` is that of one GPU, 0 if it is this one."""
    sharded = shape is LARGE and count > 1
    scale = replace(recipes.QWEN.scale, nodes=max(1, count // IN_A_NODE), processes=min(count, IN_A_NODE),
                    sharding="full" if sharded else "none")  # fmt: skip
    needed = vram.estimate(shape, recipe, scale)["total"] / GIB  # fmt: skip
    parts = {
        "rollouts": generation_s(shape, gpu, recipe, count), "training": training_s(shape, gpu, recipe, count),
        "gradients": gradient_s(shape, gpu, recipe, count, sharded), "weight sync": sync_s(shape, gpu, count, sharded),
    }  # fmt: skip
    step = sum(parts.values())
    rate = recipe.prompts_per_step * recipe.generations / step
    cells = [name, gpu.name, str(count), *(f"{value:.2f}" for value in parts.values()), f"{rate:.0f}"]
    cells += [f"{rate / count / (alone or rate):.0%}", max(parts, key=lambda part: parts[part])]
    cells += [f"{needed:.0f} of {gpu.memory_gib:.0f}" + ("" if needed < gpu.memory_gib else ", does not fit")]
    return "| " + " | ".join(cells) + " |", rate


def table(grows: bool) -> str:
    """The step of the recipe shared by all GPUs, or, if it `grows`, one such step for each."""
    lines = [
        "| model | GPU | GPUs | rollouts, s | training, s | gradients, s | weight sync, s | rollouts/s | efficiency "
        "| most time | GiB a GPU |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for name, shape in (("0.8B", SMALL), ("7B", LARGE)):
        for gpu in GPUS:
            alone = 0.0
            for count in COUNTS:
                prompts = RECIPE.prompts_per_step * (count if grows else 1)
                recipe = replace(RECIPE, prompts_per_step=prompts)
                text, rate = row(name, shape, gpu, recipe, count, alone)
                alone = alone or rate
                lines.append(text)
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    size = f"{RECIPE.prompts_per_step} x {RECIPE.generations} completions of {MEAN_TOKENS} tokens on average"
    print(f"One step of {size}, shared by all GPUs:\n\n{table(False)}\n")
    print(f"{size} for each GPU:\n\n{table(True)}")


if __name__ == "__main__":
    main()
