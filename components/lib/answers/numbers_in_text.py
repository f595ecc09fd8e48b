"""Read the one number that a short text commits to; `components.lib.answers.parser` says where to look for that text.

The text is cleaned of markup (LaTeX, markdown, tags, stop tokens), remarks in brackets are set aside, and what is
left must hold exactly one number: then its sign, its scale ("40k", "3 million") and the words around it decide
whether it is committed to. Everything that is not understood is refused: a reward must not pay for a guess.
Nothing is ever evaluated, and all arithmetic is on `int` and `Fraction`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise

from components.lib.answers import number_forms as forms
from components.lib.answers.headings import may_be_heading
from components.lib.answers.number_context import (
    LABEL_END,
    commits,
    is_money,
    is_pair,
    scale_after,
    sign_before,
    without_closers,
    without_hour,
)
from components.lib.answers.number_words import NUMBER_WORDS, words_value
from components.lib.answers.plain_text import NOISE_MASK, plain_text, split_remarks

LONGEST_TEXT = 1_000
"""Characters of cleaned text, beyond which a text that is not a plain number is refused: it bounds the work."""

_CALL = re.compile(r"(?<=[A-Za-z])\(")
_EXPRESSION_TOKEN = re.compile(rf"[0-9](?:[0-9.,]|[_{forms.APOSTROPHES}](?=[0-9]))*|[^\W\d_]+|\S")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says: the number it commits to, if any, and whether one number in digits stands in it at all."""

    value: Fraction | None
    lone: bool


NOTHING = Reading(None, False)


def read_number(text: str) -> Reading:
    """Read the one number `text` commits to; never raises.

    >>> read_number("**$1,234.50** per week (after tax)").value
    Fraction(2469, 2)
    >>> read_number("not 42")
    Reading(value=None, lone=True)
    """
    text = text.strip()
    if match := forms.PLAIN.fullmatch(text):
        value = forms.decimal_value(match["plain"], None)
        return Reading(-value if match["sign"] and value is not None else value, True)
    cleaned = plain_text(text).strip()
    if (
        len(cleaned) > LONGEST_TEXT
        or not forms.HAS_NUMBER.search(cleaned)
        or _foreign_digits(cleaned)
        or may_be_heading(cleaned)
    ):
        return NOTHING
    return _read_equation(cleaned) if "=" in cleaned else _read_single(cleaned)


def _foreign_digits(text: str) -> bool:
    """Tell whether a digit or numeral outside ASCII stands in the text, the vulgar fractions apart."""
    return not text.isascii() and any(char.isnumeric() and char not in forms.VULGAR for char in text if char > "\x7f")


def _read_equation(text: str) -> Reading:
    """Read what stands after the last `=`; parts with numbers in front of it must be expressions or the same number."""
    masked, _ = split_remarks(text)
    cut = masked.rfind("=")
    while cut >= 0 and not forms.HAS_NUMBER.search(text, cut):
        cut = masked.rfind("=", 0, cut)
    if cut < 0 or not forms.HAS_NUMBER.search(text, 0, cut):
        return _read_single(text)
    words = " ".join(re.findall(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|≠", text[:cut]))
    reading = _read_single(f"{words} = {text[cut + 1 :]}")
    for part in _split_at(text[:cut], masked, "="):
        if forms.HAS_NUMBER.search(part) and not _is_expression(part) and _read_single(part).value != reading.value:
            return NOTHING
    return reading


def _split_at(text: str, mask: str, separator: str) -> list[str]:
    """Split `text` where `mask`, of the same length or longer, shows the separator."""
    cuts = [-1, *(i for i in range(len(text)) if mask[i] == separator), len(text)]
    return [text[start + 1 : end] for start, end in pairwise(cuts)]


def _is_expression(text: str) -> bool:
    """Tell whether numbers stand in the text with an operator between each two; it is not evaluated."""
    operators, wants_operator, numbers = "+-*/\u00d7÷·⋅\u2212\u2013^x", False, 0
    for token in _EXPRESSION_TOKEN.findall(text):
        if token[0].isdecimal():
            if wants_operator:
                return False
            wants_operator, numbers = True, numbers + 1
        elif token in operators:
            wants_operator = False
        elif not (token in "()[]%$€£¥₹" or (token == ":" and not numbers) or len(token) > 1):
            return False
    return numbers > 1 and wants_operator


def _read_single(text: str) -> Reading:
    """Read a text without equation: one number outside the remarks, or one inside the only brackets."""
    masked, remarks = split_remarks(text)
    if not forms.HAS_NUMBER.search(masked):
        if said := _read_said(masked, remarks):
            return said
        masked, remarks = re.sub(r"[()\[\]]", " ", _CALL.sub(r"\\", text)), []
    found = list(islice(forms.NUMBER.finditer(masked), 2))
    if len(found) != 1:
        return NOTHING
    match = found[0]
    before = masked[: match.start()].replace(NOISE_MASK, " ")
    rest = masked[match.end() :].replace(NOISE_MASK, " ")
    money = is_money(before, rest)
    scale, after = scale_after(without_closers(rest), money)
    value, factor = forms.number_value(match), sign_before(before) * scale
    lone = any(char.isdecimal() for char in match[0])
    if factor == 1 and not money:
        after = without_hour(before, match[0], after)
    if value is None or not factor or is_pair(match[0], text) or not commits(before, after, "." in match[0]):
        return Reading(None, lone)
    value = value if factor == 1 else value * factor  # a product of fractions takes 5 µs
    return Reading(None if any(_contradicts(remark, value) for remark in remarks) else value, lone)


def _read_said(masked: str, remarks: list[str]) -> Reading | None:
    """Read number words with their digits in brackets, as in "twelve (12)"; None if the text is not of this kind."""
    words = list(islice(NUMBER_WORDS.finditer(masked), 2))
    inside = [remark for remark in remarks if forms.HAS_NUMBER.search(remark)]
    if len(words) != 1 or len(inside) != 1:
        return None
    if LABEL_END.search(masked, words[0].end()) or masked.startswith(" of ", words[0].end()):
        return None
    value, written = words_value(words[0][0]), _read_single(inside[0])
    if value is None or written.value is None:
        return Reading(None, written.lone)
    said = _read_single(f"{masked[: words[0].start()]}{value}{masked[words[0].end() :]}").value
    agreed = said == written.value and not any(_contradicts(remark, said) for remark in remarks)
    return Reading(said if agreed else None, written.lone)


_ALTERNATIVE = re.compile(
    r"\b(?:or|maybe|perhaps|possibl[ey]|alternativ\w+|also|could|might|either|wait|no|actually|correct\w*|sorry|oops"
    r"|should|rather|instead|else|another)\b",
    re.IGNORECASE,
)
_RETRACTION = re.compile(
    r"\b(?:wrong|incorrect|mistake\w*|false|negative|minus|below zero|not (?:correct|right|sure|certain))\b|\bguess",
    re.IGNORECASE,
)
_SECOND_THOUGHT = re.compile(
    r"\W*(?:or|maybe|perhaps|possibly|alternatively|wait|no|oops|sorry|actually)\b"
    r"|\W*(?:about|approx\w*|around|roughly|estimat\w*)\W*\Z",
    re.IGNORECASE,
)
_BARE_REMARK = re.compile(rf"[\s=:]*[-+\u2212]?[\s$]*[0-9][0-9.,/_{forms.APOSTROPHES}\s]*[!?]?\s*")
_WORDS_REMARK = re.compile(
    rf"\W*(?:(?:i\.?e|that is|in words|namely|exactly)\b\W+)?({NUMBER_WORDS.pattern})"
    r"(?:\s+(?:dollars?|euros?|pounds|rupees|percent|only)\b)*\W*",
    re.IGNORECASE,
)


def _contradicts(remark: str, value: Fraction) -> bool:
    """Tell whether a remark in brackets offers another value, or takes the number back."""
    if _RETRACTION.search(remark):
        return True
    if not forms.HAS_NUMBER.search(remark):
        words = _WORDS_REMARK.fullmatch(remark)
        return words_value(words[1]) != value if words else bool(_SECOND_THOUGHT.match(remark))
    if not _ALTERNATIVE.search(remark) and not _BARE_REMARK.fullmatch(remark):
        return False
    found = list(islice(forms.NUMBER.finditer(remark), 2))
    return len(found) != 1 or sign_before(remark[: found[0].start()]) * (forms.number_value(found[0]) or 0) != value
