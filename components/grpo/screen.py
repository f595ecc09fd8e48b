"""Which problems are worth training on: those that the policy sometimes solves and sometimes does not.

A group in which all completions are right, or all are wrong, has no advantage and teaches nothing. DAPO
(https://arxiv.org/abs/2503.14476) drops such groups after they were made; dropping the problems beforehand costs
`screen_samples` completions a problem once.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from components.lib.answers import checker
from components.lib.answers.judging import verdicts
from components.lib.files import read_jsonl, write_jsonl
from components.lib.generation.partial import Partial
from components.lib.generation.prompts import prefilled
from components.lib.generation.requests import Request, complete, solutions_of
from components.lib.model.files import model_directory
from components.lib.recipe import schema
from components.lib.recipe.schema import Grpo
from components.lib.training.job import Job, screened

Rates = Mapping[str, float]  # problem id -> share of its completions that were right


def screen(job: Job) -> None:
    """Solve every training problem `screen_samples` times; writes {"id", "right", "of"} rows to the job's directory.

    Several processes share the problems, each has its own file. A killed process goes on where it stopped.
    """
    rank, world = (int(os.environ.get(name, value)) for name, value in (("RANK", 0), ("WORLD_SIZE", 1)))
    checker.install(job.data)
    # A source's weight above 1 repeats its rows.
    problems = list({row["id"]: row for row in read_jsonl(job.data / "problems.jsonl")}.values())[rank::world]
    settings = sampling(job.settings)
    asked, trained = world * len(problems) * settings.per_problem, job.settings.max_steps * job.settings.rows_per_step
    share = asked / (asked + trained)
    print(
        f"screen: {len(problems)} problems, {settings.per_problem} completions each: {share:.0%} of the "
        f"{asked + trained:,} completions that this training writes; grpo_screen_samples=0 leaves it out",
        flush=True,
    )
    directory = model_directory(job.model, job.revision)
    requests = solutions_of(problems, directory, job.seed, settings)
    partial = Partial(job.directory / f"screen-partial-{rank}-of-{world}.jsonl")
    complete(requests, directory, partial, job.seed, settings, "screen", "grpo_max_new_tokens")
    right: Counter[str] = Counter()
    for request in requests:
        right[request.row["id"]] += _right(request, partial.rows[request.key])
    of = settings.per_problem
    rows = ({"id": p["id"], "right": right[p["id"]], "of": of} for p in problems)
    write_jsonl(job.directory / f"screen-{rank}-of-{world}.jsonl", rows)
    partial.remove()
    always, never = (sum(right[p["id"]] == count for p in problems) for count in (of, 0))
    print(f"screen: {always} problems always solved, {never} never, {len(problems) - always - never} left", flush=True)


def sampling(settings: Grpo) -> schema.Sample:
    """How the completions are drawn: as the rollouts are."""
    return schema.Sample(
        problems=0, per_problem=settings.screen_samples, backend=settings.rollouts, temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens, batch_size=settings.rollout_batch_size,
        batch_tokens=max(64, 2 * settings.rollout_batch_size * settings.max_new_tokens), gpu_memory_utilization=0.85,
        decode_graphs=settings.decode_graphs,
    )  # fmt: skip


def solve_rates(directory: Path) -> Rates:
    """What the screening of the training in this directory found."""
    return {row["id"]: row["right"] / row["of"] for path in screened(directory) for row in read_jsonl(path)}


def worth_training(problems: Sequence[dict[str, Any]], rates: Rates, settings: Grpo) -> list[dict[str, Any]]:
    """The problems that are neither always nor never solved; `ValueError` if they do not fill one step."""
    kept = [problem for problem in problems if 0 < rates[problem["id"]] < 1]
    if len(kept) < settings.prompts_per_step:
        raise ValueError(
            f"of {len(problems)} problems only {len(kept)} are neither always nor never solved, fewer than "
            f"prompts_per_step = {settings.prompts_per_step}; give other problems, or set screen_samples=0"
        )
    return kept


def easier_first(problems: Sequence[dict[str, Any]], rates: Rates, curriculum: float, random: Random) -> list[int]:
    """Indices of the problems: in random order at `curriculum` 0, strictly from easy to hard at 1, mixed between."""
    scores = [(1 - curriculum) * random.random() - curriculum * rates[problem["id"]] for problem in problems]
    return sorted(range(len(problems)), key=scores.__getitem__)


def _right(request: Request, made: dict[str, Any]) -> bool:
    given, reason = prefilled(request.prompt), made["finish_reason"]
    return verdicts(made["text"], request.row, prefilled=given, finish_reason=reason)["correct"]
