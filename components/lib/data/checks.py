"""Checks of a row's texts, its gold and its trace's answer, each refusal with its own reason."""

import re
from fractions import Fraction

from components.lib.answers import kinds
from components.lib.answers.final import in_form
from components.lib.data.adapters import Draft, has_tag, visible
from components.lib.data.gold import Gold
from components.lib.data.reasons import Refused
from components.lib.generation.prompts import assistant_text

_SPECIAL = re.compile(r"<\|[\w/]+\|>")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")
_RESULT = re.compile(r"=\s*(-?\d*\.?\d+)>>")
_MARKED_ALONE = re.compile("#{4}[^\n]*")
_WRAPPERS = " \t#*_`>$"
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve".split()


def check_texts(draft: Draft) -> None:
    """Refuse texts that would break a prompt's format or show an earlier wrong decoding."""
    options = "\n".join(draft.options)
    traced = (("reasoning", draft.reasoning), ("answer", draft.answer), ("solution", draft.solution))
    for field, text in (("question", draft.question), ("options", options), *traced):
        if found := _SPECIAL.search(text):
            raise Refused("special-token", field=field, token=found[0])
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
    before = "" if _MARKED_ALONE.fullmatch(draft.answer) else f"{draft.answer}\n\n"  # twice the same says nothing
    return f"{before}{in_form(gold.answer, gold.form)}"


def _marked(answer: str, gold: str) -> str:
    """The answer with its last `####` line moved to the end, in the normal way of writing."""
    before, _, after = answer.rpartition("####")
    body, _, prefix = before.rpartition("\n")
    if prefix.strip(_WRAPPERS):  # words in front of the marker on its line
        body = before.rstrip(_WRAPPERS)
    _, _, rest = after.partition("\n")
    parts = [part.strip() for part in (body, rest) if visible(part)]
    return "\n\n".join([*parts, in_form(gold, "marker")])
