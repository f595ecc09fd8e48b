"""Checks of a row's texts, its gold and its trace's answer, each refusal with its own reason."""

import re
from fractions import Fraction

from components.lib.answers import kinds
from components.lib.answers.final import boxes, final_answer, in_form
from components.lib.answers.headings import is_heading, may_be_heading
from components.lib.answers.markup import unwrapped
from components.lib.data.adapters import Draft, has_tag, visible
from components.lib.data.adapters.stated import agree, stated
from components.lib.data.gold import Gold
from components.lib.data.markers import Markers
from components.lib.data.reasons import Refused
from components.lib.generation.prompts import assistant_text
from components.lib.recipe.schema import Form

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")
_RESULT = re.compile(r"=\s*(-?\d*\.?\d+)>>")
_WRAPPERS = " \t#*_`>$"
_MARKED_LINE = re.compile(r"[\s*_`>]*#{4}([^#]*)")
_BEFORE_BOX = re.compile(r"(\A|\n)[ \t*_`>]*(?:(?:\\[\[(]|\$\$?)\s*)?[ \t*_`]*\Z")
_BEHIND_BOX = " \t\n$*_`>.\\])"
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve".split()


def check_texts(draft: Draft, markers: Markers) -> None:
    """Refuse texts that would break a prompt's format or show an earlier wrong decoding."""
    options = "\n".join(draft.options)
    traced = (("reasoning", draft.reasoning), ("answer", draft.answer), ("solution", draft.solution))
    asked = (("question", draft.question), ("options", options))
    for field, text in (*asked, *traced, ("gold", draft.gold or "")):
        if token := markers.first(text):
            raise Refused("special-token", field=field, token=token)
    for field, text in (*asked, *traced):
        if found := _CONTROL.search(text):
            raise Refused("control-character", field=field, character=f"U+{ord(found[0]):04X}")
        if "\ufffd" in text:
            raise Refused("replacement-character", field=field)
    if has_tag(draft.question) or has_tag(options):
        raise Refused("tag-in-question")
    for field, text in traced:
        if has_tag(text):
            raise Refused("nested-think", field=field)


def check_own_gold(draft: Draft, gold: Gold) -> None:
    """Refuse a gold that its own worked solution contradicts (three rows of GSM8K's train split).

    That is: the solution ends in a calculator result of another value, and the gold is nowhere in the solution,
    neither as digits or a word nor as a whole multiple of the result (dollars that became cents).
    """
    lines = draft.annotated.strip().splitlines()
    results = _RESULT.findall(lines[-1]) if lines else []
    if not results or gold.kind != "number":
        return
    value, result = Fraction(gold.answer), Fraction(results[-1])
    if value == result:
        return
    seen = {Fraction(number.replace(",", "")) for number in _NUMBER.findall(draft.reasoning)}
    seen |= {Fraction(n) for n, word in enumerate(_SMALL) if re.search(rf"\b{word}\b", draft.reasoning, re.IGNORECASE)}
    multiple = result and (value / result).denominator == 1
    if abs(value) not in seen and not multiple:
        raise Refused("wrong-gold", gold=gold.answer, solution=results[-1])


def check_trace(draft: Draft, gold: Gold) -> None:
    """Refuse a gold of the row's own that its trace contradicts: the last answer that this states is another."""
    said = stated(draft.answer) if draft.gold is not None and draft.reasoning and not gold.checker else []
    if said and not agree(said[-1], gold.answer, gold.options):
        raise Refused("contradicts-gold", gold=gold.answer, answer=said[-1])


def check_same(draft: Draft, gold: Gold) -> None:
    """Refuse a gold of the row's own that is not that of the problem which it asks."""
    if draft.gold is not None and not gold.checker and not agree(draft.gold, gold.answer, gold.options):
        raise Refused("contradicts-gold", gold=gold.answer, answer=draft.gold)


def stands_in(answer: str, form: Form) -> bool:
    """Whether an answer ends in the form that a prompt asks for."""
    found = final_answer(answer, form)
    return found.marked and not is_heading(found.text)


def ungolded_answer(answer: str, form: Form) -> str:
    r"""An answer that no gold holds: where its last line is nothing but the other form, it stands in that asked for.

    >>> ungolded_answer("Three and four.\n\n$\\boxed{7}$", "marker")
    'Three and four.\n\n#### 7'
    """
    front, said = _in_other_form(answer, form)
    return f"{front}{in_form(said, form)}" if said and not stands_in(answer, form) else answer


def settled_answer(draft: Draft, gold: Gold) -> str:
    """The answer with the gold as its last line, in the form asked for, if the trace ends in it; otherwise `Refused`.

    An answer in another form is read leniently, and gets that line only where it gives exactly the gold. One that a
    checker of the user's own finds right stays as it is.
    """
    text = assistant_text(draft.reasoning, draft.answer)
    judgement = kinds.judge(text, gold.question)
    if gold.checker:
        if not judgement.correct:
            raise Refused("contradicts-gold", gold=gold.answer, answer=judgement.text)
        return draft.answer
    if judgement.places:
        if judgement.unparsed:
            raise Refused("no-answer" if judgement.places == 1 else "several-answers", gold=gold.answer)
        if not judgement.correct:
            raise Refused("contradicts-gold", gold=gold.answer, answer=judgement.text)
        answer = _marked(draft.answer, gold.answer) if gold.form == "marker" else draft.answer
        again = kinds.judge(assistant_text(draft.reasoning, answer), gold.question)
        if not (again.correct and again.think_ok and again.answer_marked):
            raise Refused("several-answers", gold=gold.answer)
        return answer
    found, right = kinds.lenient(text, gold.question)
    if found is None:
        raise Refused("no-answer", gold=gold.answer)
    if not right:
        raise Refused("contradicts-gold", gold=gold.answer, answer=found)
    front, said = _in_other_form(draft.answer, gold.form)
    before = front.rstrip() if said else draft.answer  # twice the same says nothing
    return "\n\n".join([*([before] if before else []), in_form(gold.answer, gold.form)])


def _in_other_form(answer: str, form: Form) -> tuple[str, str]:
    """(what stands before, answer) of a last line that is nothing but an answer in the form not asked for, or ""."""
    return _boxed_alone(answer) if form == "marker" else _marked_alone(answer)


def _boxed_alone(answer: str) -> tuple[str, str]:
    """(what stands before, content) of a box that ends an answer, with nothing else on its lines; content may be ""."""
    start, end, said = next(reversed(boxes(answer)), (0, 0, ""))
    opened = _BEFORE_BOX.search(answer[:start])
    if not opened or answer[end:].strip(_BEHIND_BOX):
        return answer, ""
    return answer[: opened.end(1)], said.strip()


def _marked_alone(answer: str) -> tuple[str, str]:
    """(what stands before, answer) of a last line that is a marker and what can stand in a box; answer may be ""."""
    front, newline, line = answer.rpartition("\n")
    match = _MARKED_LINE.fullmatch(line)
    said = unwrapped(match[1].strip(" \t*_`")) if match else ""
    if may_be_heading(said) or is_heading(said) or boxes(in_form(said, "boxed")) != [(0, len(said) + 8, said)]:
        return answer, ""
    return front + newline, said


def _marked(answer: str, gold: str) -> str:
    """The answer with its last `####` line moved to the end, in the normal way of writing."""
    before, _, after = answer.rpartition("####")
    body, _, prefix = before.rpartition("\n")
    if prefix.strip(_WRAPPERS):  # words in front of the marker on its line
        body = before.rstrip(_WRAPPERS)
    _, _, rest = after.partition("\n")
    parts = [part.strip() for part in (body, rest) if visible(part)]
    return "\n\n".join([*parts, in_form(gold, "marker")])
