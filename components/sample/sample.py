"""Let the base model solve training problems, several times each, as a source of SFT conversations.

`standardize` reads what it wrote and keeps the solutions that are right and well formed. Which problems are training
problems is found by `standardize` itself, so no held-out, evaluation or refused problem is asked.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.lib.answers import checker
from components.lib.answers.judging import verdicts
from components.lib.data.detect import resolved
from components.lib.data.rows import write_rows
from components.lib.files import read_jsonl, write_jsonl
from components.lib.generation import prompts
from components.lib.generation.partial import Partial, kept
from components.lib.generation.requests import Request, complete, solutions_of
from components.lib.model.files import model_directory
from components.lib.recipe import schema
from components.lib.recipe.settings import replace
from components.lib.registry.plan import Plan


def sample(
    *, plan: Plan, split: schema.Standardize, settings: schema.Sample, out: Path, checkpoints: Path | None
) -> dict[str, float]:
    """Write `out`/samples.jsonl, solutions of the plan's base model for the adapter prompt-completion of standardize.

    Rows are {"id" of the problem, "sample", "prompt", "completion", "gold", "tokens"}; the completion opens its think
    block also where the prompt had opened it. A solution that hit the length limit is counted and not written, a
    wrong one is written: standardize refuses it with its reason. `split` must be what standardize will get.

    Returns `problems` asked, solutions `asked` for, `written` and `truncated`; of those written how many are `right`
    and `well_formed`, as the evaluation judges, and how many `right_unmarked`, without the form that standardize
    then gives them; `tokens` and `seconds` of all. A killed run goes on where it stopped, with the completions that lie
    below `checkpoints` (see `partial.kept`). `ValueError` if no training problem is left.
    """
    out.mkdir(parents=True, exist_ok=True)
    problems = training_problems(plan, split, out)
    chosen = choose(problems, settings.problems)
    print(f"sample: {len(chosen):,} of {len(problems):,} training problems, {settings.per_problem} solutions each")
    directory = model_directory(plan.model, plan.revision)
    requests = solutions_of(chosen, directory, plan.rows_seed, settings)
    with kept("sample", (request.key for request in requests), out, checkpoints) as partial:
        complete(requests, directory, partial, plan.rows_seed, settings, "sample", "sample_max_new_tokens")
        numbers = _written(requests, partial, out / "samples.jsonl") | {"problems": len(chosen)}
    print(
        f"sample: {numbers['asked']:,} solutions, {numbers['truncated']:,} cut off, {numbers['right']:,} right, "
        f"{numbers['right_unmarked']:,} more but for the form"
    )
    return {name: float(number) for name, number in numbers.items()} | checker.counts()


def _written(requests: Sequence[Request], partial: Partial, path: Path) -> dict[str, float]:
    """Write the solutions that are whole; returns the numbers of `sample` that are about solutions."""
    found = [_solution(request, partial.rows[request.key]) for request in requests]
    whole = [solution for solution in found if solution["finish_reason"] == "stop"]
    write_jsonl(path, map(_row, whole))
    return {
        "asked": len(found),
        "written": len(whole),
        "truncated": len(found) - len(whole),
        "right": sum(solution["correct"] for solution in whole),
        "well_formed": sum(solution["think_ok"] and solution["answer_marked"] for solution in whole),
        "right_unmarked": sum(solution["correct_lenient"] and not solution["correct"] for solution in whole),
        "tokens": sum(solution["tokens"] for solution in found),
        "seconds": sum(partial.rows[request.key]["seconds"] for request in requests),
    }


def training_problems(plan: Plan, split: schema.Standardize, folder: Path) -> list[dict[str, Any]]:
    """The rows of problems.jsonl that standardize will write, each once; `folder` is for its files, gone afterwards.

    SFT sources have no say in which problems are kept, and are not read.
    """
    known = [resolved(source, plan.rows_seed)[0] for source in plan.sources if source.purpose != "sft"]
    sources = tuple(replace(source, use="problems") for source in known if source.use in ("problems", "both"))
    if not sources:
        raise ValueError("sources has no source of problems to sample from; give one with adapter gsm8k")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".standardize-") as made:
        written = write_rows(plan=replace(plan, sources=sources), settings=split, out=Path(made))
        if written.error:
            raise ValueError(written.error)
        # a source's weight above 1 repeats its rows
        return list({row["question"]: row for row in read_jsonl(Path(made, "problems.jsonl"))}.values())


def choose(problems: Sequence[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """At most `limit` problems, by the hash of their content: a smaller choice is part of a larger one."""
    return sorted(problems, key=lambda row: row["hash"])[:limit]


def _solution(request: Request, made: dict[str, Any]) -> dict[str, Any]:
    """A completion of partial.jsonl with its problem and its verdicts."""
    problem, prefilled, reason = request.row, prompts.prefilled(request.prompt), made["finish_reason"]
    return {
        "id": problem["id"], "sample": request.sample, "question": problem["question"], "gold": problem["gold"],
        "completion": made["text"], "prefilled": prefilled, "tokens": made["tokens"], "finish_reason": reason,
        **verdicts(made["text"], problem, prefilled=prefilled, finish_reason=reason),
    }  # fmt: skip


def _row(solution: dict[str, Any]) -> dict[str, Any]:
    """A row of samples.jsonl."""
    opened = f"{prompts.OPEN}\n" if solution["prefilled"] else ""
    return {
        "id": solution["id"], "sample": solution["sample"], "prompt": solution["question"],
        "completion": opened + solution["completion"], "gold": solution["gold"], "tokens": solution["tokens"],
    }  # fmt: skip
