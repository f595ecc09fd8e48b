"""One judgement for every kind of answer, in both forms: what reward, evaluation, gate, sample and `score` ask.

`number` has the rules of `parser`. The other kinds take the last final answer of a completion and compare it with the
gold: `math_process`, `choice_answer`, `text_answer`. Of `python:FILE.py` the user's own code decides: `checker`. Every
kind fails closed: what is not understood is wrong.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from components.lib.answers import checker, choice_answer, math_process, parser, text_answer
from components.lib.answers.final import anywhere, boxes_as_markers, final_answer
from components.lib.answers.markup import unwrapped
from components.lib.answers.math_text import LONGEST
from components.lib.recipe.schema import CHECKER, FORMS, KINDS, Form

BATCH_S = 60.0
"""Seconds that the answers of one batch may take together, beyond those that text or number settle."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one completion is worth; `text` is its answer as it was read, None where there is none."""

    text: str | None
    correct: bool
    think_ok: bool
    answer_marked: bool
    unparsed: bool
    places: int = 1  # how many markers or boxes it has outside the think block
    timed_out: bool = False
    paid: float | None = None  # what a checker of the user's own gave
    failure: str = ""  # why such a checker gave no verdict

    @property
    def score(self) -> float:
        """What is paid, from 0 to 1."""
        return float(self.correct) if self.paid is None else self.paid


@dataclass(frozen=True, slots=True)
class Question:
    """What the judge must know beside the completion."""

    gold: str
    kind: str = "number"
    form: Form = "marker"
    options: Sequence[str] = ()
    prefilled: bool = False
    checker: str = ""  # of python:FILE.py: the short hash of its code
    row: Mapping[str, Any] = field(default_factory=dict, hash=False)  # and what it gets beside the completion

    @staticmethod
    def of(row: Mapping[str, Any], *, prefilled: bool) -> "Question":
        """Return the question of a problem or an item; one of an older run asks for a number behind the marker."""
        options = tuple(row.get("options") or ())
        asked = Question(row["gold"], answers_of(row), form_of(row), options, prefilled)
        if not row.get("checker"):
            return asked
        own = {**row.get("row", {}), "question": row["question"], "gold": row["gold"]}
        return replace(asked, checker=row["checker"], row=own)


def answers_of(row: Mapping[str, Any]) -> str:
    """Return the kind of the answer of a problem or an item; an older run knew numbers alone."""
    return row.get("answers", "number")


def form_of(row: Mapping[str, Any]) -> Form:
    """Return the form in which a problem or an item wants its answer; an older run knew the marker alone."""
    return row.get("form", "marker")


def judge(completion: str, question: Question, deadline: float | None = None) -> Judgement:
    r"""Judge `completion`; a ValueError of `check_gold` or `checker.judge` is all that is raised.

    `deadline` is that of `math_process.equal`. A checker is not asked about an empty text, as one that was cut off is.

    >>> judge("<think>6 * 7</think>\n#### (b)", Question("B", "choice")).correct
    True
    """
    gold = check_gold(question)
    said, completion = completion, parser.THINK_OPEN + completion if question.prefilled else completion
    if question.kind == "number":
        return _judge_number(completion, question)
    if question.checker:
        return _judge_checked(completion, question) if said else NOTHING
    found = final_answer(completion, question.form)
    text = read_answer(found.text, question.kind, question.options)
    correct = timed_out = False
    if text is not None:
        try:
            correct = _equal(gold, text, question.kind, deadline)
        except math_process.OutOfTime:
            timed_out = True
    return Judgement(
        text=text,
        correct=correct,
        think_ok=parser.judge(completion, "0").think_ok,
        answer_marked=text is not None and found.marked,
        unparsed=text is None,
        places=found.places,
        timed_out=timed_out,
    )


def lenient(completion: str, question: Question) -> tuple[str | None, bool]:
    """Return what a generous reader finds, and whether it is right; for reports, never for a reward."""
    if question.checker:
        judged = judge(completion, question)
        return judged.text, judged.correct
    completion = parser.THINK_OPEN + completion if question.prefilled else completion
    if question.kind == "number":
        value = parser.parse_lenient(completion)
        return None if value is None else parser.format_answer(value), value == parser.parse_gold(question.gold)
    gold = check_gold(question)
    for said in anywhere(completion, question.form):
        if (text := read_answer(said, question.kind, question.options)) is not None:
            try:
                return text, _equal(gold, text, question.kind, None)
            except math_process.OutOfTime:
                return text, False
    return None, False


def judge_all(pairs: Iterable[tuple[str, Question]], limit_s: float = BATCH_S) -> list[Judgement]:
    """Judge a batch; an answer of `math` that needs longer than `limit_s` since its begin is wrong and `timed_out`."""
    deadline = time.monotonic() + limit_s
    return [judge(completion, question, deadline) for completion, question in pairs]


def check_gold(question: Question) -> str:
    """Return the gold as it is compared; ValueError if it is none of its kind, or kind or form are unknown."""
    gold = question.gold
    if question.kind.startswith(CHECKER) and question.checker:
        return gold
    if question.kind not in KINDS or question.form not in FORMS:
        raise ValueError(
            f"answers {question.kind!r} in the form {question.form!r} are unknown; "
            f"take one of {', '.join(KINDS)} and one of {', '.join(FORMS)}"
        )
    if question.kind == "number":
        parser.parse_gold(gold)
    elif question.kind == "choice":
        return choice_answer.parse_gold(gold, question.options)
    elif question.kind == "text":
        text_answer.check_gold(gold)
    elif not 0 < len(gold.strip()) <= LONGEST:
        raise ValueError(f"gold {gold[:80]!r} has {len(gold.strip())} characters; 1 to {LONGEST} can be compared")
    return gold


def read_answer(text: str, kind: str, options: Sequence[str] = ()) -> str | None:
    """Return what the text of a final answer states, None where that is nothing."""
    if kind == "choice":
        return choice_answer.read_letter(text, options)
    return unwrapped(text).strip() or None


def _equal(gold: str, text: str, kind: str, deadline: float | None) -> bool:
    if kind == "math":
        return math_process.equal(gold, text, deadline)
    if kind == "text":
        return text_answer.normalized(gold) == text_answer.normalized(text)
    return gold == text


NOTHING = Judgement(None, False, False, False, True, places=0, paid=0.0)
"""The verdict on a text that a checker was not asked about."""


def _judge_checked(completion: str, question: Question) -> Judgement:
    """Have the user's own checker judge; its answer is what stands in the form where it names none."""
    verdict, found = checker.judge(question.checker, completion, question.row), final_answer(completion, question.form)
    text = read_answer(found.text, question.kind) if verdict.answer is None else verdict.answer
    return Judgement(
        text=text,
        correct=verdict.right,
        think_ok=parser.judge(completion, "0").think_ok,
        answer_marked=found.marked,
        unparsed=text is None and not verdict.right,
        places=found.places,
        paid=verdict.score,
        failure=verdict.failure,
    )


def _judge_number(completion: str, question: Question) -> Judgement:
    judged = parser.judge(completion if question.form == "marker" else boxes_as_markers(completion), question.gold)
    return Judgement(
        judged.text, judged.correct, judged.think_ok, judged.answer_marked, judged.unparsed, judged.markers
    )
