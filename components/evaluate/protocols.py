"""How a question is asked: zero-shot, 8-shot, or 8-shot with the reasoning kept in the exemplars.

Exemplars come from the training files, never from the questions that are evaluated.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from statistics import median_low
from typing import Any

from components.lib.answers.final import in_form
from components.lib.answers.kinds import answers_of, form_of
from components.lib.files import read_jsonl
from components.lib.generation import prompts

SHOTS = 8
Exemplar = tuple[str, str]  # question, answer


def exemplars(protocol: str, kind: str, data: Path, asked: Iterable[str], seed: int) -> list[Exemplar]:
    """The exemplars of a protocol for questions whose answers are of `kind`, the same for every checkpoint of a seed.

    8-shot takes them from `data`/problems.jsonl, 8-shot-think from the rows of `data`/sft.jsonl that have reasoning
    and a known gold answer and are no longer than the median, because eight long traces would fill the context; of
    both those of that kind, and no problem without a gold. `asked` are the questions evaluated, which are left out.
    `TooFew` if eight do not remain.
    """
    if protocol == "zero-shot":
        return []
    path = data / ("sft.jsonl" if protocol == "8-shot-think" else "problems.jsonl")
    rows = [row for row in read_jsonl(path) if answers_of(row) == kind]
    found = _traces(rows) if protocol == "8-shot-think" else [_worked(row) for row in rows if row["gold"]]
    taken = {_normal(question) for question in asked}
    usable = [shot for shot in found if _normal(shot[0]) not in taken]
    if protocol == "8-shot-think" and len(usable) > 2 * SHOTS:
        limit = median_low(len(answer) for _, answer in usable)
        usable = [shot for shot in usable if len(shot[1]) <= limit]
    if len(usable) < SHOTS:
        raise TooFew(
            f"of the {SHOTS} exemplars with answers of the kind {kind} that it needs, {path.name} has {len(usable)} "
            "whose question is not evaluated"
        )
    return random.Random(f"{seed} {protocol}").sample(usable, SHOTS)


class TooFew(ValueError):
    """There are not enough exemplars for a protocol and a kind of answers."""


def _worked(row: dict[str, Any]) -> Exemplar:
    answer = in_form(row["gold"], form_of(row))
    return row["question"], f"{row['solution'].strip()}\n{answer}".lstrip()


def _traces(rows: Iterable[dict[str, Any]]) -> list[Exemplar]:
    """Question and full assistant text of the rows that have reasoning and a known gold answer."""
    found = []
    for row in rows:
        turns = {message["role"]: message["content"] for message in row["messages"]}
        reasoning = turns["assistant"].partition(prompts.CLOSE)[0].removeprefix(prompts.OPEN)
        if row["gold"] is not None and reasoning.strip():
            found.append((turns["user"], turns["assistant"]))
    return found


def _normal(question: str) -> str:
    return " ".join(question.casefold().split())
