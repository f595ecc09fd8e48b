"""Adapters of traces in fields of their own: reasoning, answer, and often a gold."""

from typing import Any

from components.lib.answers.parser import MARKER
from components.lib.data.adapters import draft
from components.lib.data.adapters.conversations import question_of
from components.lib.data.adapters.draft import Draft, Row, visible
from components.lib.data.adapters.problems import solution_gold
from components.lib.data.adapters.stated import the_answer, trace
from components.lib.data.adapters.thinking import has_tag, joined_thinking, split_thinking
from components.lib.data.reasons import Refused

ASKED = ("instruction", "question", "problem", "prompt", "input", "query", "Question")
THOUGHT = ("reasoning", "reasoning_content", "thinking", "thought", "cot", "deepseek_reasoning", "Complex_CoT")
ANSWERED = ("response", "output", "answer", "content", "solution", "deepseek_solution", "Response")
_VERDICTS = ("correctness_math_verify", "correctness_llama")


def thinking_solution(row: Row) -> Draft:
    """{"problem", "thinking", "solution", "difficulty", "category"}: the reasoning and the answer as two texts.

    A field `gold` of the row, or a short `answer` or `ground_truth`, is its gold.
    """
    question, reasoning, answer = (draft.text(row, name) for name in ("problem", "thinking", "solution"))
    return Draft(question, reasoning, answer, draft.gold_beside(row))


def trace_rows(row: Row) -> Draft:
    """{"question", "reasoning"[, "answer"][, "gold"][, "options"]}: any table with traces, by way of `fields`.

    Without `answer` the reasoning holds a think block and the answer behind it, or the gold is the answer. A short
    `ground_truth` is a gold, too.
    """
    question, answer = question_of(row, "question"), _optional(row, "answer")
    choices = draft.options(row, "options") if row.get("options") is not None else ()
    gold = draft.gold_beside(row, "answer")
    if gold is not None and choices:
        gold = draft.letter(gold, choices)
    if gold is not None and not draft.text_or_none(row, "reasoning"):
        return Draft(question, "", "", gold, options=choices)
    reasoning = draft.text(row, "reasoning")
    if has_tag(reasoning) or has_tag(answer):
        reasoning, answer = joined_thinking(reasoning, answer)
    if not visible(answer) and gold is not None:
        answer = f"{MARKER} {the_answer(reasoning, 'reasoning', choices) or gold}"
    return trace(question, reasoning, answer, gold, choices)


def r1(row: Row) -> Draft:
    """{"instruction", "reasoning", "response"}: what DeepSeek-R1 and its like wrote, in three fields.

    Called question, problem, prompt, input or query; reasoning_content, thinking, thought, cot; output, answer,
    content or solution as well. The response may hold the think block itself. `gold`, or a short `answer` or
    `ground_truth` beside the response, is the row's gold.
    """
    asked = draft.first(row, *ASKED)
    names = [name for name in ANSWERED if name != asked]
    thought, answered = draft.first(row, *THOUGHT), draft.first(row, *names)
    question, response = question_of(row, asked), draft.text(row, answered)
    if asked == "instruction" and (more := draft.text_or_none(row, "input")):
        question = f"{question}\n\n{more}"
    reasoning = draft.text_or_none(row, thought)
    if thought not in row and not has_tag(response):
        raise Refused("missing-field", field=thought)
    return trace(question, *joined_thinking(reasoning, response), draft.gold_beside(row, answered))


def openr1(row: Row) -> Draft:
    """{"problem", "solution", "answer", "generations", "correctness_math_verify", ...}: OpenR1-Math.

    The first generation that a verdict calls right, and that ends on the gold, is the trace; where none is called
    right the row is a problem. `correctness_llama` is a second list of verdicts, `is_reasoning_complete` says which
    generations are whole.
    """
    question, gold, solution = solution_gold(row)
    generations: list[Any] = [] if row.get("generations") is None else draft.structure(row, "generations", list)
    right, refused = _right(row, generations), Refused("no-right-trace")
    for number in right:
        refused = Refused("no-answer")
        try:
            found = trace(question, *split_thinking(generations[number]), gold)
            if the_answer(found.answer, "generations") is not None:
                return Draft(question, found.reasoning, found.answer, gold, solution=solution)
        except Refused as why:
            refused = why
    if refused.reason in ("contradicts-gold", "several-answers"):
        raise refused
    return Draft(question, "", "", gold, solution=solution, flaw=refused.reason)


def _right(row: Row, generations: list[Any]) -> list[int]:
    """The generations that are whole and that a verdict calls right."""
    for number, text in enumerate(generations):
        draft.field({f"generations[{number}]": text}, f"generations[{number}]", str)
    names = [name for name in (*_VERDICTS, "is_reasoning_complete") if row.get(name) is not None]
    lists = {name: draft.structure(row, name, list) for name in names}
    for name, found in lists.items():
        if len(found) != len(generations):
            raise Refused("verdict-count", field=name, verdicts=len(found), generations=len(generations))
        if not all(verdict is None or isinstance(verdict, bool) for verdict in found):
            raise Refused("wrong-type", field=name)
    complete = lists.pop("is_reasoning_complete", [True] * len(generations))
    called = range(len(generations))
    return [number for number in called if complete[number] and any(found[number] for found in lists.values())]


def _optional(row: Row, name: str) -> str:
    """A text that need not be there, "" without it; a number is one, too."""
    value = row.get(name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else draft.text_or_none(row, name)
