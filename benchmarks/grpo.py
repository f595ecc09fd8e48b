"""How fast GRPO is: the published run's configuration, TRL with our settings, and ours; same model shape and device.

Run `OMP_NUM_THREADS=1 python benchmarks/grpo.py --output benchmarks/grpo.md`; on a GPU add `--shape 0.8b`. Every
completion is forced to the same length, so that all write equally many tokens; the weights do not matter. Each
configuration runs in a process of its own, without and with gradient checkpointing. Seconds are process time on a CPU,
so that other work on the machine does not count, and wall time on a GPU.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.lib.recipe.settings import replace

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOTrainer

from benchmarks.shapes import machine, qwen_config, save_random
from components.grpo import train as grpo
from components.grpo.rollouts import Rollouts
from components.grpo.scorer import Scorer
from components.lib.files import read_json, write_jsonl, write_text
from components.lib.model.files import model_directory
from components.lib.recipe import recipes
from components.lib.recipe.schema import Grpo
from components.lib.tiny.problems import rows
from components.lib.training import common, vram
from components.lib.training.job import Job

# The published run: one prompt a step, its 8 completions one by one through the loss, a KL term, plain `generate`.
REFERENCE = {"prompts_per_step": 1, "generations": 8, "micro_batch_size": 1, "beta": 0.04, "loss_type": "grpo"}
BANDWIDTH = {"RTX 5090": 1.79e12, "H100": 3.35e12, "H200": 4.8e12}  # bytes/s, from the vendor's data sheets
KINDS = {"reference": "the published run's", "trl": "TRL, our settings", "ours": "ours"}
WARM_UP = 1  # steps that are not counted
SHAPES = {"tiny": "the embedded one (0.47 M weights)", "0.8b": "random weights, shape of Qwen3.5-0.8B"}


def main() -> None:
    """Measure both configurations, print the table in Markdown, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", default="tiny", choices=SHAPES)
    parser.add_argument("--completions", type=int, default=1024, help="that each configuration writes (default: 1024)")
    parser.add_argument("--tokens", type=int, default=0, help="of every completion (default: the recipe's longest)")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--checkpointing", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    tokens = asked.tokens or (recipes.TINY.grpo.max_new_tokens if asked.shape == "tiny" else 512)
    if asked.one:
        settings = settings_of(asked.one, asked.shape, tokens, asked.checkpointing)
        print(json.dumps(measure(asked.one, asked.shape, settings, asked.completions)))
        return
    text = heading(asked.shape, tokens, asked.completions)
    for checkpointing in (False, True):
        found = {kind: in_a_process(kind, asked.shape, asked.completions, tokens, checkpointing) for kind in KINDS}
        text += table(found, checkpointing)
    print(text)
    if asked.output:
        write_text(asked.output, text)


def settings_of(kind: str, shape: str, tokens: int, checkpointing: bool) -> Grpo:
    """The settings of one configuration."""
    settings = replace(recipes.QWEN.grpo, max_new_tokens=tokens, screen_samples=0, plateau_steps=0)
    if shape == "tiny":  # memory is no concern
        settings = replace(settings, micro_batch_size=64)
    settings = replace(settings, **REFERENCE) if kind == "reference" else settings
    return replace(settings, gradient_checkpointing=checkpointing)


def in_a_process(kind: str, shape: str, completions: int, tokens: int, checkpointing: bool) -> dict[str, Any]:
    """The measurement of one configuration."""
    command = [sys.executable, __file__, "--one", kind, "--shape", shape]
    command += ["--completions", str(completions), "--tokens", str(tokens)]
    command += ["--checkpointing"] if checkpointing else []
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(kind: str, shape: str, settings: Grpo, completions: int) -> dict[str, Any]:
    """Train until so many completions were written after the warm-up; seconds by what they went to, and memory."""
    each = settings.prompts_per_step * settings.generations
    settings = replace(settings, max_steps=WARM_UP + max(1, completions // each))
    with TemporaryDirectory() as scratch, common.old_names():
        directory = Path(scratch)
        model = "tiny" if shape == "tiny" else str(save_random(directory / "model", qwen_config()))
        write_jsonl(directory / "problems.jsonl", problems(settings.prompts_per_step * settings.max_steps))
        job = Job(
            stage="grpo", model=model, revision="main", data=directory, directory=directory, seed=0, settings=settings,
            training=recipes.TINY.training, scale=recipes.TINY.scale,
        )  # fmt: skip
        trainer = (ours if kind == "ours" else plain)(job)
        clock = Clock()
        with clock.around(trainer, "_generate", "generation"), clock.around(trainer, "_calculate_rewards", "scoring"):
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(clock)
            trainer.train()
    return clock.result(each, settings, model)


def ours(job: Job) -> Any:
    """Our trainer, its completions never ended by a token."""
    tokenizer, model = common.load_tokenizer(job.model, job.revision), common.load_model(job.model, job.revision)
    rollouts = Rollouts(job, tokenizer)
    trainer = grpo.make_trainer(job, model, tokenizer, scorer(job, rollouts), rollouts, dataset(job, tokenizer))
    rollouts.text.ended = lambda ids: ""  # type: ignore[method-assign]
    return trainer


def plain(job: Job) -> Any:
    """TRL's own trainer: `generate` of transformers, and on a GPU the bfloat16 weights that the published run had."""
    kind = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    tokenizer = common.load_tokenizer(job.model, job.revision)
    model = common.load_model(job.model, job.revision, kind)
    rollouts = Rollouts(job, tokenizer)
    rollouts.policy.copy = None
    config = grpo.grpo_config(job, rollouts, model)
    config.generation_kwargs = {"min_new_tokens": job.settings.max_new_tokens}
    return GRPOTrainer(
        model=model, reward_funcs=scorer(job, rollouts).functions, args=config, train_dataset=dataset(job, tokenizer),
        processing_class=tokenizer,
    )  # fmt: skip


def alternating(*, completion_ids: list[list[int]], **_: Any) -> list[float]:
    """A reward that gives every completion an advantage, so that none may be left out of the loss."""
    return [float(number % 2) for number in range(len(completion_ids))]


def scorer(job: Job, rollouts: Rollouts) -> Scorer:
    """The rewards, which both get, with `alternating` in place of the last one."""
    settings = replace(job.settings, sample_steps=10**9)

    class Alternating(Scorer):
        @property
        def functions(self) -> list[Any]:
            return [*super().functions[:-1], alternating]

    return Alternating(rollouts.text, settings, asked(job), job.directory / "curves" / "samples.jsonl")


def dataset(job: Job, tokenizer: Any) -> Any:
    """The prompts."""
    (job.directory / "curves").mkdir(exist_ok=True)
    return grpo.one_pass(asked(job), {}, job.settings, 0, tokenizer)


def asked(job: Job) -> list[dict[str, Any]]:
    """A problem for each prompt of the run."""
    return problems(job.settings.prompts_per_step * job.settings.max_steps)


def problems(count: int) -> list[dict[str, Any]]:
    """So many problems of the demo."""
    found = [row for row, _ in zip(rows("problems", 0), range(count), strict=False)]
    return [
        {"id": str(n), "question": row["question"], "gold": row["answer"].split("#### ")[1]}
        for n, row in enumerate(found)
    ]


class Clock(TrainerCallback):
    """Seconds of the steps after the warm-up, and of the methods it was put around."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.began = 0.0
        self.steps = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock after the warm-up."""
        if state.global_step == WARM_UP:
            self.seconds.clear()
            self.began = now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Read the clock."""
        if state.global_step > WARM_UP:
            self.steps, self.seconds["all"] = state.global_step - WARM_UP, now() - self.began

    @contextmanager
    def around(self, trainer: Any, method: str, name: str) -> Iterator[None]:
        """Count the seconds of one of the trainer's methods."""
        function: Callable[..., Any] = getattr(trainer, method)

        def timed(*arguments: Any, **named: Any) -> Any:
            began = now()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[name] += now() - began

        setattr(trainer, method, timed)
        yield

    def result(self, each: int, settings: Grpo, model: str) -> dict[str, Any]:
        """What the table needs; `each` is the number of completions of a step."""
        seconds, rollouts = self.seconds["all"], self.steps * each
        training_s = seconds - self.seconds["generation"] - self.seconds["scoring"]
        gpu = torch.cuda.is_available()
        peak = torch.cuda.max_memory_allocated() if gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        config = read_json(model_directory(model, "main") / "config.json") if model == "tiny" else None
        return {
            "rollouts": rollouts, "seconds": seconds, "rollouts_per_s": rollouts / seconds,
            "tokens_per_s": rollouts * settings.max_new_tokens / seconds,
            "decoded_per_s": rollouts * settings.max_new_tokens / self.seconds["generation"],
            "generation": self.seconds["generation"] / seconds, "scoring": self.seconds["scoring"] / seconds,
            "training": training_s / seconds, "peak_mib": peak / 2**20, "machine": machine(), "together": each,
            "roofline": None if config else roofline(settings),
        }  # fmt: skip


def now() -> float:
    """Seconds of this process, or of the wall on a GPU, once what was asked of it is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def roofline(settings: Grpo) -> float | None:
    """Tokens/s if decoding only read weights, states and caches at the GPU's memory bandwidth; None if unknown."""
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    bandwidth = next((value for part, value in BANDWIDTH.items() if part in name), None)
    shape = vram.shape_of(qwen_config().to_dict())
    if bandwidth is None or shape is None:
        return None
    rows_ = min(settings.rollout_batch_size, settings.prompts_per_step * settings.generations)
    context = vram.PROMPT_TOKENS + settings.max_new_tokens / 2
    state = 2 * vram.FP32 * shape.linear_state * shape.linear_layers  # read and written
    cache = vram.BF16 * 2 * shape.key_value * shape.attention_layers * context
    return bandwidth * rows_ / (vram.BF16 * shape.parameters + rows_ * (state + cache))


def heading(shape: str, tokens: int, completions: int) -> str:
    """What was measured, and on what."""
    return (
        f"# GRPO speed\n\nModel: {SHAPES[shape]}. Every completion has {tokens} tokens; ours are the settings of the "
        f"recipe qwen3.5-0.8b. {machine()}, commit {commit()}. "
        f"`OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python benchmarks/grpo.py --shape {shape} "
        f"--completions {completions}`\n"
    )


def table(found: dict[str, dict[str, Any]], checkpointing: bool) -> str:
    """The table of all configurations."""
    mine, others = found["ours"], [found["reference"], found["trl"]]
    all_ = [*others, mine]
    lines = [
        "", f"## {'With' if checkpointing else 'Without'} gradient checkpointing", "",
        f"| | {' | '.join(KINDS.values())} | ours to the first | ours to TRL |", "|---|---:|---:|---:|---:|---:|",
        f"| completions a step | {' | '.join(str(one['together']) for one in all_)} | | |",
    ]  # fmt: skip
    for name, label, form in (
        ("rollouts_per_s", "rollouts/s, all in", ",.1f"), ("tokens_per_s", "tokens/s, all in", ",.0f"),
        ("decoded_per_s", "tokens/s while generating", ",.0f"), ("peak_mib", "peak memory, MiB", ",.0f"),
    ):  # fmt: skip
        values = [f"{one[name]:{form}}" for one in all_] + [f"{mine[name] / other[name]:.1f}" for other in others]
        lines.append(f"| {label} | {' | '.join(values)} |")
    for name in ("generation", "scoring", "training"):
        lines.append(f"| ms a completion in {name} | {' | '.join(_each(one, name) for one in all_)} | | |")
    if mine["roofline"]:
        share = mine["decoded_per_s"] / mine["roofline"]
        lines.append(f"| share of the decode roofline ({mine['roofline']:,.0f} tokens/s) | | | {share:.1%} | | |")
    return "\n".join([*lines, ""])


def _each(one: dict[str, Any], name: str) -> str:
    return f"{1000 * one[name] / one['rollouts_per_s']:.2f} ({one[name]:.0%})"


def commit() -> str:
    """The commit of the working tree, marked if it was changed."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"]
    return (
        subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, encoding="utf-8").stdout.strip()
        or "unknown"
    )


if __name__ == "__main__":
    main()
