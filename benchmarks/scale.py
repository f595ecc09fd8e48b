"""How GRPO scales over processes of one machine: the same step shared by 1 and by 2, every completion as long.

Run `OMP_NUM_THREADS=1 python benchmarks/scale.py --output benchmarks/scale.md` on a machine with nothing else to do:
wall time counts here, and on busy cores a second process finds no core of its own.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from components.lib.recipe.settings import replace

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from transformers import PrinterCallback

from benchmarks import grpo as speed
from benchmarks.shapes import machine
from components.lib.files import write_jsonl, write_text
from components.lib.recipe import recipes
from components.lib.training import common
from components.lib.training.job import Job

PROCESSES = (1, 2)
# As many completions a step as the recipe for a GPU has; fewer are a matter of latency, which processes do not share.
SETTINGS = replace(
    recipes.TINY.grpo, prompts_per_step=recipes.QWEN.grpo.prompts_per_step, micro_batch_size=64, plateau_steps=0,
    rollout_batch_size=recipes.QWEN.grpo.rollout_batch_size,
)  # fmt: skip
ROUNDS = 3  # of both in turn; the best of each counts


def main() -> None:
    """Measure, print the table in Markdown, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        print(json.dumps(measure(asked.worker, asked.steps)), flush=True)
        return
    found: dict[int, list[dict[str, float]]] = {count: [] for count in PROCESSES}
    for _ in range(ROUNDS):
        for count in PROCESSES:
            found[count].append(launched(count, asked.steps))
    text = report({count: max(rounds, key=lambda r: r["rollouts_per_s"]) for count, rounds in found.items()})
    print(text)
    if asked.output:
        write_text(asked.output, text)


def launched(count: int, steps: int) -> dict[str, float]:
    """The measurement on so many processes under torchrun."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), __file__]
    done = subprocess.run(
        [sys.executable, *command, "--worker", str(count), "--steps", str(steps)], stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )  # fmt: skip
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def measure(count: int, steps: int) -> dict[str, float]:
    """Seconds a step, and what they went to, in this process of `count`."""
    settings = replace(SETTINGS, max_steps=speed.WARM_UP + steps)
    speed.now = time.perf_counter
    with TemporaryDirectory() as scratch, common.old_names():
        directory = Path(scratch)
        write_jsonl(directory / "problems.jsonl", speed.problems(settings.prompts_per_step * settings.max_steps))
        job = Job(
            stage="grpo", model="tiny", revision="main", data=directory, directory=directory, seed=0, settings=settings,
            training=recipes.TINY.training, scale=replace(recipes.TINY.scale, processes=count),
        )  # fmt: skip
        trainer, clock = speed.ours(job), speed.Clock()
        with clock.around(trainer, "_generate", "generation"):
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(clock)
            trainer.train()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    seconds = clock.seconds["all"]
    rollouts = clock.steps * settings.prompts_per_step * settings.generations
    return {
        "rollouts_per_s": rollouts / seconds, "seconds": seconds / clock.steps,
        "generation": clock.seconds["generation"] / clock.steps,
    }  # fmt: skip


def report(found: dict[int, dict[str, float]]) -> str:
    """The table, with what it was measured on."""
    one = found[1]["rollouts_per_s"]
    lines = [
        "# Scaling", "",
        f"GRPO on the embedded model, {SETTINGS.prompts_per_step * SETTINGS.generations} completions a step of "
        f"{SETTINGS.max_new_tokens} tokens each, gloo, one thread a process. {machine()}, commit "
        f"{speed.commit()}; the best of {ROUNDS} rounds in turn. `OMP_NUM_THREADS=1 python benchmarks/scale.py`", "",
        "| processes | rollouts/s | a step, s | of which generation, s | speed-up | efficiency |",
        "|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for count, row in found.items():
        faster = row["rollouts_per_s"] / one
        lines.append(
            f"| {count} | {row['rollouts_per_s']:.0f} | {row['seconds']:.2f} | {row['generation']:.2f} "
            f"| {faster:.2f} | {faster / count:.0%} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
