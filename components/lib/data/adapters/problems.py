"""Adapters of problems: a question and a gold, often with a worked solution."""

import re

from components.lib.answers.parser import MARKER
from components.lib.data.adapters import draft
from components.lib.data.adapters.conversations import question_of
from components.lib.data.adapters.draft import Draft, Row, visible
from components.lib.data.adapters.stated import agree, check_solution, chosen, stated, the_answer, trace
from components.lib.data.adapters.thinking import has_tag, split_thinking
from components.lib.data.normal import clean
from components.lib.data.reasons import Refused

_ANNOTATION = re.compile(r"<<[^<>]*>>")
_GOLDS = ("gold", "answer", "answerKey")
_NO_GOLD = frozenset({"proof", "notfound", "not found", "n/a", "none"})  # of NuminaMath 1.5
_METAMATH = re.compile(r"(?:\bthe\s+)?(?:\bfinal\s+)?\banswer\s+is\s*:?\s*(?P<said>[^\n]*)\s*\Z", re.IGNORECASE)
_MARKED_LINE = re.compile(r"^[^\S\n]*#{4}[^\n]*\n?", re.MULTILINE)
# What DAPO's and verl's preparation put around a question.
_WRAPPERS = (
    re.compile(r"\ASolve the following math problem step by step\. The last line of your response should be of the "
               r"form Answer: \$?Answer \(without quotes\) where \$?Answer is the answer to the problem\.\s*"),
    re.compile(r"\s*Remember to put your answer on its own line after [\"“]Answer:[\"”]\.?\s*\Z"),
    re.compile(r"\s*Let'?s think step by step and output the final answer (?:after \"####\"|within \\boxed\{\})\.?"
               r"\s*\Z"),
    re.compile(r"\s*Please reason step by step, and put your final answer within \\boxed\{\}\.?\s*\Z"),
)  # fmt: skip


def gsm8k(row: Row) -> Draft:
    """{"question", "answer"}: a worked solution with <<...>> annotations and a last line `#### N`.

    The reasoning is the solution without annotations. Rows of this project's own problems.jsonl, {"question",
    "gold", "solution"}, are read too.
    """
    question = draft.text(row, "question")
    if "answer" not in row and "gold" in row:
        gold = clean(str(draft.field(row, "gold", str | int | float)))
        return Draft(question, clean(draft.field(row, "solution", str)), f"{MARKER} {gold}", gold)
    worked, *golds = draft.text(row, "answer").split(MARKER)
    if not golds:
        raise Refused("no-answer", field="answer")
    if len(golds) > 1:
        raise Refused("several-answers", field="answer", answers=[gold.strip() for gold in golds])
    plain = _ANNOTATION.sub("", worked)
    if "<<" in plain or ">>" in plain:
        raise Refused("bad-annotation", field="answer")
    gold = golds[0].strip()
    if not gold:
        raise Refused("no-answer", field="answer")
    return Draft(question, clean(plain), f"{MARKER} {gold}", gold, annotated=worked)


def problem(row: Row) -> Draft:
    r"""{"question", "gold"[, "solution"][, "options"]}: any table of questions and golds, by way of `fields`.

    `answer` or `answerKey` is the gold where there is no `gold`. A gold may be a number, alone in a list, in a
    \boxed{}, or behind the `####` of a worked text. With `options` or `choices` it is the letter of one, its text, or
    its position from 0 as a number.
    """
    question, solution = question_of(row, "question"), draft.text_or_none(row, "solution")
    if not any(name in row for name in _GOLDS):  # which a checker of the user's own can do without
        return Draft(question, solution, "", None)
    name = draft.first(row, *_GOLDS)
    written = draft.gold(row, name)
    if row.get(listed := draft.first(row, "options", "choices")) is not None:
        choices = draft.options(row, listed)
        position = row[name] if isinstance(row[name], int) else None
        return _solved(question, draft.letter(written, choices, position), solution, choices)
    gold = _final(written, name)
    if gold != written and not solution and "\n" in written:
        solution = written
    return _solved(question, gold, solution)


def open_problem(row: Row) -> Draft:
    """As `problem`, but the gold may be missing or empty: a checker of the user's own may do without."""
    gold = row.get(draft.first(row, "gold", "answer", "answerKey"))
    if gold is not None and visible(str(gold)):
        return problem(row)
    return Draft(question_of(row, "question"), draft.text_or_none(row, "solution"), "", None)


def mathematics(row: Row) -> Draft:
    r"""{"problem", "solution"[, "answer"]}: MATH and NuminaMath; the gold is in the last \boxed{} of the solution.

    An `answer`, as MATH-500 and NuminaMath 1.5 have it, must agree with that box; `proof` and `notfound` are none.
    """
    return _solved(*solution_gold(row), checked=True)


def answered(row: Row) -> Draft:
    """{"problem", "answer"[, "solution"]}: DeepScaleR, Big-Math and the like; a solution must agree with the answer.

    `question` and `final_answer` are read too.
    """
    question = question_of(row, draft.first(row, "problem", "question"))
    name = draft.first(row, "answer", "final_answer")
    gold, solution = _final(draft.gold(row, name), name), draft.text_or_none(row, "solution")
    return _solved(question, gold, solution)


def metamath(row: Row) -> Draft:
    """{"query", "response", "type", "original_question"}: MetaMath; the response ends in "The answer is: N".

    A `####` line or a box in it must agree with that.
    """
    question, response = draft.text(row, "query"), draft.text(row, "response")
    gold = the_answer(response, "response")
    last = _METAMATH.search(response)
    if gold is None and last and visible(last["said"]):
        gold = last["said"].strip().rstrip(".")
    if gold is None or (last and not visible(last["said"])):
        raise Refused("no-answer", field="response")
    return _solved(question, gold, response[: last.start()] if last else response, checked=True)


def dapo(row: Row) -> Draft:
    """{"prompt": [{"role", "content"}], "reward_model": {"ground_truth"}, "extra_info"}: DAPO and verl.

    What the preparation put around the question is taken off. `extra_info` may have the question, and the worked
    answer that must agree with the ground truth; `prompt` may be a text, `ground_truth` a list of one, also as JSON
    text.
    """
    question = question_of(row, "prompt")
    for wrapper in _WRAPPERS:
        question = wrapper.sub("", question)
    model = draft.structure(row, "reward_model", dict)
    try:
        gold = _final(draft.gold(model, "ground_truth"), "ground_truth")
    except Refused as refused:
        raise Refused(refused.reason, **refused.detail | {"field": "reward_model.ground_truth"}) from None
    extra = {} if row.get("extra_info") is None else draft.structure(row, "extra_info", dict)
    plain = extra.get("question")
    if isinstance(plain, str) and visible(plain) and clean(plain) in question:
        question = clean(plain)
    worked = extra.get("answer")
    solution = draft.text_or_none(row, "solution") or (worked if isinstance(worked, str) else "")
    short = "\n" not in solution and len(solution.split()) <= 3
    if short and solution and not agree(solution, gold):
        raise Refused("wrong-gold", gold=gold, solution=solution)
    if not visible(question):
        raise Refused("empty-field", field="prompt")
    return _solved(question, gold, "" if short else solution)


def aqua(row: Row) -> Draft:
    """{"question", "options", "rationale", "correct"}: AQuA-RAT, a choice whose gold is the letter `correct`.

    Letters are of either case, options with or without theirs. A rationale that states another letter is left out:
    the letter stands.
    """
    question, choices = question_of(row, "question"), draft.options(row, "options")
    gold = draft.letter(draft.text(row, "correct"), choices)
    rationale = draft.text_or_none(row, "rationale")
    said = next((chosen(text, choices) for text in reversed(stated(rationale))), None)
    flaw = "contradicts-gold" if said and said != gold else ""
    if flaw or not rationale:
        return Draft(question, "", "", gold, options=choices, flaw=flaw)
    return Draft(question, rationale, f"{MARKER} {gold}", gold, options=choices)


def alpaca(row: Row) -> Draft:
    r"""{"instruction", "input", "output"}: Alpaca triples; the question is instruction and input, the gold the output.

    An output that thinks in a think block is a trace. Of an output that ends in a box or a `####` line that is the
    gold; else all of it is, where it is short enough for an answer. A field `gold` of the row, or a short `answer` or
    `ground_truth`, must agree with it.
    """
    asked = [draft.text_or_none(row, name) for name in ("instruction", "input")]
    question = "\n\n".join(filter(None, asked)) or draft.text(row, "instruction")
    if row.get("history"):
        raise Refused("wrong-roles", roles=["history"])
    given = draft.gold_beside(row)
    if has_tag(output := draft.gold(row, "output")):
        reasoning, answer = split_thinking(output)
        said = given or the_answer(answer, "output")
        return trace(question, reasoning, answer, said or (clean(answer) if len(answer.split()) <= 12 else None))
    gold = _final(output, "output")
    if given and len(gold.split()) <= 12 and not agree(given, gold):
        raise Refused("wrong-gold", gold=given, solution=gold)
    return _solved(question, gold, output if gold != output and "\n" in output else "")


def solution_gold(row: Row) -> tuple[str, str, str]:
    """(question, gold, solution) of a row whose gold is its `answer`, or in the last box of its solution."""
    question, solution = draft.text(row, draft.first(row, "problem", "question")), draft.text_or_none(row, "solution")
    given = "" if row.get("answer") is None or row.get("answer") == "" else _final(draft.gold(row, "answer"), "answer")
    if given and given.strip().lower() not in _NO_GOLD:
        check_solution(solution, given, "solution")
        return question, given, solution
    boxed = the_answer(solution, "solution") if "boxed" in solution or "fbox" in solution else None
    if not solution:
        draft.text(row, "solution")
    if not boxed or not visible(boxed):
        raise Refused("no-answer", field="solution")
    return question, boxed, solution


def _solved(
    question: str, gold: str, solution: str, choices: tuple[str, ...] = (), *, checked: bool = False
) -> Draft:  # fmt: skip
    """The draft of a problem whose solution, if there is one, does not contradict its gold."""
    if solution and not checked:
        check_solution(solution, gold, "solution", choices)
    worked = _unmarked(_ANNOTATION.sub("", solution))
    answer = f"{MARKER} {' '.join(gold.split())}" if worked else ""
    return Draft(question, worked, answer, gold, options=choices)


def _final(written: str, name: str) -> str:
    """A gold as it stands, or the one that a box around it or a `####` line of its text holds."""
    if "boxed" in written or "fbox" in written or MARKER in written:
        return the_answer(written, name) or written
    return written


def _unmarked(text: str) -> str:
    return clean(_MARKED_LINE.sub("", text))
