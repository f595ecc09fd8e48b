"""What each pattern of the parser does, with an answer whose verdict is another one without it."""

import re

import pytest

from components.lib.answers import headings, number_context, number_forms, numbers_in_text, plain_text
from components.lib.answers.parser import parse_strict

# Two have no example: PLAIN is a short way for plain numbers, and what _EQUAL joins is read without it too.
PATTERNS = {
    plain_text: [
        ("_INVISIBLE", "what has no width is not there", "-\u200b5"),
        ("_TAGS", "tags, stop tokens and calculator annotations are no text", "42<|im_end|>"),
        ("_IN_ANGLES", "angle brackets around a number are quotes", "<42>"),
        ("_SPACE_ENTITY", "&nbsp; is a space", "42&nbsp;km"),
        ("_OTHER_ENTITY", "another entity may be a sign, so it refuses", "&plus;42"),
        ("_ARROW", "an arrow in front says nothing", "-> 42"),
        ("_UNEQUAL", "!= denies", "!= 42"),
        ("_FRACTION", r"\frac{1}{2} is 1/2", r"\frac{1}{2}"),
        ("_DEGREE", "a degree sign is no power", r"42^\circ"),
        ("_COMMAND", "known LaTeX commands are unwrapped", r"\text{42}"),
        ("_TEN_TO_SUPERSCRIPT", "10³ is a power of ten", "2×10³"),
        ("_SCIENTIFIC", "2 x 10^3 is one number", "2 x 10^3"),
        ("_CURRENCY", "a currency's code is its sign", "USD42"),
        ("_UNIT_POWER", "the digit of m^2 is no number", "42 m^2"),
        ("_ATTACHED_AREA", "nor is that of 42m2", "42m2"),
        ("_IDENTIFIER", "nor that of CO2", "42 CO2 molecules"),
        ("_EMPHASIS", "stars and underscores around words are markup", "_twice 42"),
        ("_BRACKET", "brackets hold remarks", "42 (not 43)"),
    ],
    numbers_in_text: [
        ("_CALL", "a letter in front of brackets is a function", "f(42)"),
        ("_EXPRESSION_TOKEN", "what stands before = is a calculation", "6*7 = 42"),
        ("_ALTERNATIVE", "a remark offers another number", "42 (or 43)"),
        ("_RETRACTION", "a remark takes the number back", "42 (wrong)"),
        ("_SECOND_THOUGHT", "a remark without digits begins with a doubt", "42 (no)"),
        ("_BARE_REMARK", "a remark is another number alone", "42 (43)"),
        ("_WORDS_REMARK", "or another number in words", "42 (forty-three)"),
        ("NUMBER_WORDS", "words with their digits are one number", "twelve (12)"),
        ("LABEL_END", "but not those of a label", "Total for three days: (42)"),
    ],
    number_context: [
        ("_SCALE_WORD", "million multiplies", "3 million"),
        ("_SCALE_LETTERS", "k multiplies", "2k"),
        ("_MONEY", "m is million after a currency", "$3m"),
        ("_BEFORE_SMALL", "a word in front denies, doubts or bounds", "not 42"),
        ("_NEAR_SMALL", "a word in front multiplies", "twice 42"),
        ("LABEL_END", "but not one in a label of its own", "Total for three days: 42"),
        ("_BLOCKING_END", "a sign in front multiplies or goes on", "× 42"),
        ("_CLOSERS", "closing signs do not hide what follows", "$42$ pm"),
        ("_AFTER_START", "a sign or letter behind calculates", "42x"),
        ("_AFTER_START_SMALL", "a time of day, a number's word", "3 dozen"),
        ("_AFTER_SMALL", "a word behind doubts or offers more", "42 or so"),
        ("_ODD", "signs of inequality, roots, crosses", "±42"),
        ("_DOTS", "a decimal that goes on", "0.333..."),
        ("_MINUS_WORD", "minus in words", "minus 5"),
        ("_HOUR", "an hour is a number", "10 PM"),
        ("_HOURS", "no other hour than the twelve", "10 o'clock"),
        ("_PAIR", "two numbers are no mixed one", "both 2 and 1/2"),
    ],
    number_forms: [
        ("HAS_NUMBER", "a text without digits is no answer", "½"),
        ("NUMBER", "what a number looks like", "42 apples"),
        ("_NOT_DIGITS", "separators of thousands are no digits", "1 234 567"),
    ],
    headings: [
        ("_MAY_BE", "a numbered heading states no answer", "3. Add"),
        ("_SURE", "one in front of the answer does no harm", "1. Add\n#### 42"),
        ("_ANSWER", "unless it states an answer too", "1. The answer is 41\n#### 42"),
        ("_SENTENCE", "or is a sentence", "5. Done.\n#### 42"),
    ],
}
ROWS = [(module, *row) for module, rows in PATTERNS.items() for row in rows]


def _read(answer):
    try:
        return parse_strict(f"#### {answer}")
    except ValueError as error:  # int() of what is no digits
        return str(error)


@pytest.mark.parametrize(("module", "name", "effect", "example"), ROWS, ids=[row[1] for row in ROWS])
def test_each_pattern_is_needed(module, name, effect, example, monkeypatch):
    verdict, pattern = _read(example), getattr(module, name)
    monkeypatch.setattr(module, name, re.compile(f"(?!)(?:{pattern.pattern})", pattern.flags))
    assert _read(example) != verdict, effect


def test_every_pattern_has_its_row():
    known = {(module, name) for module, name, *_ in ROWS}
    found = {(m, name) for m in PATTERNS for name, value in vars(m).items() if isinstance(value, re.Pattern)}
    assert found - known == {(plain_text, "_EQUAL"), (number_forms, "PLAIN")}
