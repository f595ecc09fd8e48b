r"""Which final answers a row's own text states, in a box, behind `####` or in its last line, and whether they agree.

Nothing here judges a completion: it finds rows that contradict themselves.
"""

import re
from collections.abc import Sequence

from components.lib.answers import math_process
from components.lib.answers.choice_answer import letters, read_letter
from components.lib.answers.final import boxes
from components.lib.answers.headings import is_heading, may_be_heading
from components.lib.answers.markup import unwrapped
from components.lib.answers.numbers_in_text import read_number
from components.lib.answers.text_answer import normalized
from components.lib.data.adapters.draft import Draft, visible
from components.lib.data.normal import clean
from components.lib.data.reasons import Refused

_MARKER = re.compile(r"#{4,}[^\S\n]*(.*)")
_COLON = re.compile(r"\b(?:the|final|correct|right)\s+answer\s+is\s*:[^\S\n]*(.*)", re.IGNORECASE)
_SAID = re.compile(
    r"\b(?:answer|option|choice|ans)\b[\s*_]{0,4}(?:is\b|[:=]|[-–]\s)?[\s*_:]{0,4}(?:option\b[\s*_:]{0,4})?(\S.*)",
    re.IGNORECASE,
)
_ALONE = re.compile(r"\(?([A-H])[).]{0,2}|.*\b([A-H])\s+is\s+(?:the\s+)?(?:correct|right|answer|option)\b.*")
_LETTER = re.compile(r"\(?([A-Ha-h])\)?(?:[).:\s].*)?")
_OPTION = re.compile(r"(?:\\(?:text|textbf|textrm|mathrm|mathbf)\s*\{)?\s*\(([A-H])\)\s*\}?[\s~\\:.,!;]*(?P<rest>.*)")


def stated(text: str) -> list[str]:
    """The answers that a text states in boxes, behind `####`, or behind "The answer is:", in their order.

    A line behind `####` that is a heading states none. Where nothing of this is there, the last line counts if it
    says which number or letter the answer is.
    """
    found = [(start, content.strip()) for start, _, content in boxes(text)]
    inside = [(start, end) for start, end, _ in boxes(text)]
    last = text.rstrip().rpartition("\n")[2].strip()
    for match in _MARKER.finditer(text):
        if "\\boxed" not in match[1] and not _is_heading(match, last):
            found.append((match.start(), match[1].strip()))
    for match in _COLON.finditer(text):
        if visible(match[1]) and not any(start <= match.end() <= end + 3 for start, end in inside):
            found.append((match.start(), unwrapped(match[1])))
    return [said for _, said in sorted(found)] or _last_line(last)


def without_headings(text: str) -> str:
    """The text with its headings behind `####` one step higher, so that what is left there is an answer."""
    last = text.rstrip().rpartition("\n")[2].strip()
    return _MARKER.sub(lambda match: f"### {match[1]}" if _is_heading(match, last) else match[0], text)


def _is_heading(match: re.Match[str], last: str) -> bool:
    """Whether a `####` line states no answer: it is empty, or words alone that are not the last line."""
    said = match[1].strip()
    numeric = any(char.isnumeric() for char in said) and not (is_heading(said) or may_be_heading(said))
    return not said or not (numeric or match[0].strip() == last or _LETTER.fullmatch(said) or "\\boxed" in said)


def the_answer(text: str, field: str, choices: Sequence[str] = ()) -> str | None:
    """The one answer that a text states, the last of equal ones, None if it states none; `Refused` if they differ."""
    found = stated(text)
    if any(not agree(said, found[-1], choices) for said in found[:-1]):
        raise Refused("several-answers", field=field, answers=found)
    return found[-1] if found else None


def agree(one: str, other: str, choices: Sequence[str] = ()) -> bool:
    """Whether two answers are the same: the same option of `choices`, or the same as text, number or mathematics."""
    if choices:
        return chosen(one, choices) == chosen(other, choices)
    if normalized(one) == normalized(other):
        return True
    value = read_number(one).value
    if value is not None and value == read_number(other).value:
        return True
    try:
        if math_process.equal(one, other):
            return True
    except math_process.OutOfTime:
        return False
    return _as_options(one, other) or _as_options(other, one)


def chosen(said: str, choices: Sequence[str]) -> str | None:
    """The letter of the option that an answer is, by its letter or by its text; None if it is none."""
    if letter := read_letter(said, choices):
        return letter
    value = read_number(said).value
    for name, option in letters(choices).items():
        if normalized(said) == normalized(option) or (value is not None and value == read_number(option).value):
            return name
    return None


def check_solution(solution: str, gold: str, field: str, choices: Sequence[str] = ()) -> None:
    """Refuse a gold that its worked solution contradicts: the last answer that it states is another."""
    found = stated(solution)
    if found and not agree(found[-1], gold, choices):
        raise Refused("wrong-gold", field=field, gold=gold, solution=found[-1])


def trace(question: str, reasoning: str, answer: str, gold: str | None, choices: tuple[str, ...] = ()) -> Draft:
    """The draft of a trace whose answer states one answer at most, and no other than the gold."""
    if not visible(reasoning):
        raise Refused("empty-think")
    if not visible(answer):
        raise Refused("no-answer")
    said = the_answer(answer, "answer", choices)
    if gold is not None and said is not None and not agree(gold, said, choices):
        raise Refused("contradicts-gold", gold=gold, answer=said)
    return Draft(clean(question), clean(reasoning), clean(without_headings(answer)), gold, options=choices)


def _last_line(line: str) -> list[str]:
    """What a last line says the answer is, where that is one number or one letter."""
    if alone := _ALONE.fullmatch(line):
        return [alone[1] or alone[2]]
    match = _SAID.search(line)
    said = unwrapped(match[1]) if match else ""
    if letter := _LETTER.fullmatch(said):
        return [letter[1].upper()] if letter[1].isupper() or len(said) <= 3 else []
    return [said] if read_number(said).value is not None else []


def _as_options(one: str, other: str) -> bool:
    r"""Whether `one` is an option such as \textbf{(D) } 5, and `other` its letter or its text."""
    match = _OPTION.fullmatch(one.strip())
    if not match:
        return False
    rest = unwrapped(
        match["rest"].rstrip("}") if match["rest"].count("{") < match["rest"].count("}") else match["rest"]
    )
    said = normalized(other).strip("() ")
    return bool(said) and (said == match[1].lower() or said == normalized(rest))
