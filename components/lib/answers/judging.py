"""From a completion to its verdicts, and whether the judged items of two models can be paired."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

from components.lib.answers import kinds, lm_eval_math
from components.lib.answers.lm_eval_match import lm_eval_correct, lm_eval_flexible, lm_eval_strict
from components.lib.files import read_jsonl

MEASURED = "champion"  # in a candidate's evaluation: the champion's, where it had to be measured anew
DECIDING = "zero-shot"  # the protocol in which models are compared
Shared = Literal["gold", "prompt_sha256", "sampling", "answers", "checker"]
_WORDS: dict[Shared, str] = {
    "gold": "golds", "prompt_sha256": "prompts", "sampling": "ways of sampling", "answers": "kinds of answers",
    "checker": "checkers",
}  # fmt: skip
_OLDER = {"answers": "number", "checker": ""}  # what rows mean that were written before there was the field


class Verdicts(TypedDict):
    """What is to be said of one completion; numbers are written as by `parser.format_answer`."""

    answer: str | None  # what the final answer commits to, None if that is none of its kind, or contested
    lenient: str | None  # what `kinds.lenient` finds
    correct: bool  # `answer` is the gold and the completion was not cut off: what is paid and counts in the gate
    correct_lenient: bool
    lm_eval: dict[str, bool]  # whether it is right by each rule that lm-eval has for its kind, `lm_eval_says`
    think_ok: bool  # one closed think block with something in it
    answer_marked: bool  # the final answer stands where the form wants it
    unparsed: bool  # there is no `answer`
    timed_out: NotRequired[bool]  # mathematics that could not be compared in time, which is wrong


class Item(Verdicts):
    """A row of items.jsonl: one completion of one problem by one checkpoint. Evaluate writes it, compare reads it."""

    checkpoint: str  # base, sft, grpo or champion
    split: str  # evaluation or gate
    protocol: str  # one of schema.PROTOCOLS
    id: str  # of the problem
    sample: int  # 0, 1, ...: which of its completions
    prompt_sha256: str
    question: str
    gold: str
    source: NotRequired[str]  # name of the problem's source; this and what follows of the problem is newer than some
    answers: NotRequired[str]  # kind of the answer
    form: NotRequired[str]
    options: NotRequired[list[str]]
    checker: NotRequired[str]  # of python:FILE.py the short hash of its code, else empty
    completion: str  # without special tokens but the think tags
    prefilled: bool  # whether the prompt has opened the think block
    tokens: int  # generated, the end token included
    finish_reason: str  # stop, or length where it was cut off
    stopped_at_answer: bool  # the model would have gone on after its answer line
    sampling: str  # backend, length limit and temperature in words


Items = dict[str, Item]  # by problem id


def verdicts(completion: str, row: Mapping[str, Any], *, prefilled: bool, finish_reason: str) -> Verdicts:
    """Judge a completion of the problem of `row` by all rules; `ValueError` if its gold is none of its kind."""
    question = kinds.Question.of(row, prefilled=prefilled)
    if question.checker and finish_reason != "stop":
        completion = ""  # it is not asked about what was cut off
    verdict = kinds.judge(completion, question)
    lenient, right = kinds.lenient(completion, question)
    return {
        "answer": verdict.text,
        "lenient": lenient,
        "correct": verdict.correct and finish_reason == "stop",
        "correct_lenient": right,
        "lm_eval": lm_eval_says(completion, question),
        "think_ok": verdict.think_ok,
        "answer_marked": verdict.answer_marked,
        "unparsed": verdict.unparsed,
        "timed_out": verdict.timed_out,
    }


def lm_eval_says(completion: str, question: kinds.Question) -> dict[str, bool]:
    """Whether a completion is right by lm-eval's own rules: those of gsm8k for numbers, of MATH for mathematics.

    Empty for other kinds, for which lm-eval has no task by generation that is asked here.
    """
    if question.kind == "number":
        said = {"strict": lm_eval_strict(completion), "flexible": lm_eval_flexible(completion)}
        return {name: lm_eval_correct(text, question.gold) for name, text in said.items()}
    return lm_eval_math.verdicts(completion, question.gold) if question.kind == "math" else {}


def champion_mismatch(evaluation: Path, champion: Path) -> str:
    """Why the champion's items cannot be paired with an evaluation's; empty if they can.

    Both are an items.jsonl or the directory that holds it.
    """
    fields: tuple[Shared, ...] = ("gold", "answers", "checker", "prompt_sha256", "sampling")
    return mismatch(read_items(evaluation), read_items(champion), fields)


def rejudged(items: Items) -> Items:
    """Kept answers with the verdicts of today's parser; those of a checker, which has the same code, stay."""
    return {key: row if row.get("checker") else {**row, **_verdicts_of(row)} for key, row in items.items()}


def _verdicts_of(item: Item) -> Verdicts:
    return verdicts(item["completion"], item, prefilled=item["prefilled"], finish_reason=item["finish_reason"])


def item_rows(path: Path) -> Iterator[Item]:
    """The rows of an items.jsonl."""
    return cast(Iterator[Item], read_jsonl(path))


def read_items(path: Path, protocol: str = DECIDING) -> Items:
    """The rows of the gate split by problem id; `ValueError` if there are none or one comes twice."""
    path = path / "items.jsonl" if path.is_dir() else path
    items: Items = {}
    for row in item_rows(path):
        if row["split"] == "gate" and row["protocol"] == protocol and row["sample"] == 0:
            if row["id"] in items:
                raise ValueError(f"{path}: problem {row['id']} is there twice in the gate split; evaluate anew")
            items[row["id"]] = row
    if not items:
        raise ValueError(f"{path} has no {protocol} rows of the gate split; raise standardize_gate_share and rerun")
    return items


def mismatch(candidate: Items, other: Items, fields: Sequence[Shared]) -> str:
    """Why two sets of items cannot be paired; empty if they can."""
    if only := set(candidate) ^ set(other):
        return f"{len(only)} problems are in one of them only, such as {min(only)}"
    for name in fields:
        older = _OLDER.get(name)
        differing = sum(row.get(name, older) != other[key].get(name, older) for key, row in candidate.items())
        if differing:
            return f"{differing} of {len(candidate)} {_WORDS[name]} differ"
    return ""
