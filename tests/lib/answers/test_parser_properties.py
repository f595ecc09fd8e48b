"""What holds for every text: no crash, a planted number is found, a second one is refused, work grows with length."""

import time
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.lib.answers.lm_eval_match import lm_eval_flexible, lm_eval_strict
from components.lib.answers.parser import judge, parse_lenient, parse_strict

PIECES = (
    "####", "#### ", "<think>", "</think>", "\n", " ", "42", "-", "−", "/", ".", ",", "$", "%", "½", "²", "٤", "e9",
    "0x", "\\boxed{", "\\frac{", "\\", "{", "}", "(", ")", "[", "]", "<", ">", "=", "^", "*", "_", "~", "not ", "or ",
    "wait ", "million", "k", " m", "pm", ":", "answer is ", "\u200b", "\ud800", "<|im_end|>", "&minus;", "1/0", "the",
    "10^", "x",
)  # fmt: skip
ROUGH = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
WRAPPERS = (
    "{}", "**{}**", "`{}`", "_{}_", "${}$", "\\({}\\)", "\\boxed{{{}}}", "$\\boxed{{{}}}$", "\\text{{{}}}", "({})",
    "[{}]", "{}.", "{} ", " {}", "{}<|im_end|>", "{}</s>", "<b>{}</b>", "<<1+1=2>>{}", "= {}", "x = {}", "Answer: {}",
    "'{}'", "the answer is {}", "{} (that is 3 more than before)", "{} apples", "{} km/h", "{}%", "{} USD",
    "{}\\text{{ cm}}^2",
)  # fmt: skip
LINES = (
    "40-42", "40 to 42", "3:2", "not 42", "42 or 43", "42, 43", "3:30 pm", "2024-01-05", "6*7", "at least 42", "~42",
    "42²", "half of 42", "42^2", "√42", "42 + x", "1,23", "0x2A", "42 squared", "42 or forty", "isn't 42", "≠ 42",
    "42+", "±42",
)  # fmt: skip


MARKUP = (
    "{}", "**{}**", "***{}***", "`{}`", "_{}_", "__{}__", "${}$", "\\({}\\)", "\\boxed{{{}}}", "$\\boxed{{{}}}$",
    "({})", "\\text{{{}}}", "\\left({}\\right)", "<b>{}</b>", '"{}"', "“{}”", "'{}'", "[{}]", "{{{}}}", "<{}>",
    "{}<|im_end|>",
)  # fmt: skip
CONTEXTS = (
    "about {}", "more than {}", "half of {}", "not {}", "over {}", "minus {}", "between {}", "~{}", "<{}", "±{}",
    "√{}", "{} million", "{} thousand", "{} dozen", "{}k", "{} squared", "{} or so", "{} pm", "{}^2", "{} x", "{}²",
    "{}π", "{}+", "{} and a half", "{} ½", "{}.5", "{},000", "{}/2", "1/{}", "{}e3", "2*{}", "{}**2", "{} * 7",
    "{}:{}", "-{}", "x{}",
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(completion=ROUGH, prefilled=st.booleans())
@example("#### " + "9" * 5000, False)
@example("#### 1e99999", False)
@example("#### 1/" + "0" * 50, False)
def test_no_text_raises(completion, prefilled):
    verdict = judge(completion, "42", prefilled=prefilled)
    assert verdict.correct == (verdict.answer == 42) and verdict.unparsed == (verdict.answer is None)
    assert verdict.answer == parse_strict(completion, prefilled=prefilled)
    assert verdict.answer is None or Fraction(verdict.text) == verdict.answer == parse_lenient(
        completion, prefilled=prefilled
    )
    assert verdict.markers or (verdict.unparsed and not verdict.answer_marked)
    lm_eval_strict(completion), lm_eval_flexible(completion)


@settings(deadline=None)
@given(
    number=st.integers(-(10**30), 10**30),
    grouped=st.booleans(),
    wrappers=st.lists(st.sampled_from(WRAPPERS), max_size=2),
    reasoning=st.text(st.characters(codec="utf-8", exclude_characters="<#"), min_size=1).filter(str.strip),
)
def test_a_planted_number_is_found(number, grouped, wrappers, reasoning):
    text = f"{number:,}" if grouped else str(number)
    for wrapper in wrappers[:1]:
        text = wrapper.format(text)
    verdict = judge(f"<think>{reasoning}</think>\n#### {text}", str(number))
    assert verdict.correct and verdict.answer_marked
    assert not judge(f"<think>{reasoning}</think>\n#### {text}", str(number + 1)).correct


@settings(deadline=None)
@given(top=st.integers(-(10**6), 10**6), power=st.integers(0, 12), bottom=st.integers(1, 10**6))
def test_decimals_and_fractions_are_exact(top, power, bottom):
    sign, digits = "-" if top < 0 else "", str(abs(top)).rjust(power + 1, "0")
    decimal = f"{sign}{digits[: len(digits) - power]}.{digits[len(digits) - power :]}0"
    assert parse_strict(f"#### {decimal}") == Fraction(top, 10**power)
    assert parse_strict(f"#### {top}/{bottom}") == Fraction(top, bottom)
    assert parse_strict(f"#### {sign}\\frac{{{abs(top)}}}{{{bottom}}}") == Fraction(top, bottom)


@settings(deadline=None)
@given(
    first=st.integers(0, 10**6),
    second=st.integers(0, 10**6),
    link=st.sampled_from([" or ", ", ", " and ", "; ", "-", ":"]),
)
def test_two_numbers_are_never_one(first, second, link):
    assert parse_strict(f"#### {first}{link}{second}") is None


@pytest.mark.parametrize("line", LINES)
@settings(max_examples=20, deadline=None)
@given(wrapper=st.sampled_from([w for w in WRAPPERS if not w.startswith(("({", "[{", "<<"))]))
def test_a_refused_line_stays_refused_in_any_wrapper(line, wrapper):
    assert parse_strict(f"#### {wrapper.format(line)}") is None


@pytest.mark.parametrize("context", CONTEXTS)
def test_markup_does_not_hide_what_changes_a_number(context):
    for text in (context.replace("{}", markup.format(42)) for markup in MARKUP):
        assert parse_strict(f"#### {text}") != 42, text


@settings(deadline=None)
@given(
    before=st.text(st.characters(codec="utf-8", exclude_characters="#<")), after=ROUGH.filter(lambda t: "#" not in t)
)
def test_other_lines_do_not_change_the_answer(before, after):
    after = after.replace("think>", "")
    assert parse_strict(f"{before}\n#### 42\n{after}") == 42


NASTY = {
    "hashes": ("", "#", ""), "hashes, number": ("", "#", "42"), "digits": ("#### ", "9", ""),
    "opens": ("", "<think>", ""), "closes": ("", "</think>", "#### 42"), "commas": ("#### 4", ",", "2"),
    "spaces": ("#### 4", " ", "2"), "braces": ("#### ", "{", "42"), "boxed": ("#### ", "\\boxed{", "42"),
    "boxed, unmarked": ("", "\\boxed{", "42"), "parentheses": ("#### ", "(", "42"), "remarks": ("#### 42", "()", ""),
    "angles": ("#### ", "<", "42"), "groups": ("#### 1", ",234", ""), "thousands": ("#### 1", " 234", ""),
    "fractions": ("#### ", "\\frac{1}{2}", ""), "open fractions": ("#### ", "\\frac{", ""),
    "equations": ("#### ", "1=", "1"), "minus": ("#### ", "-", "42"), "letters": ("#### 42 ", "a", ""),
    "markers": ("", "#### 41 ", ""), "corrected": ("", "#### 41 wait, ", "#### 42"),
    "corrections": ("#### 41", " no mistake", "#### 42"), "phrases": ("", "answer is ", ""),
    "a*": ("#### a", "*", "b42"), "newlines": ("", "\n", "#### 42"),
    "invisible": ("<think>", "\u200b", "</think>#### 42"), "stars": ("#### ", "*", "42"),
    "backslashes": ("#### ", "\\", "42"), "exponent": ("#### 1e", "9", ""), "vulgar": ("#### ", "½", ""),
    "tokens": ("#### 42", "<|im_end|>", ""), "dots": ("#### 42", ".", ""), "numerals": ("#### ", "四", ""),
    "entities": ("#### ", "&nbsp;", "42"), "lakhs": ("#### 1", ",23", ""), "apostrophes": ("#### 1", "'234", ""),
    "underscores": ("#### 1", "_234", ""), "no width": ("#### 4", "\u200b", "2"), "wide": ("#### ", "\u3000", "42"),
    "section": ("#### 3", ".1", ""), "stops": ("#### 3", ".", ""), "headings": ("", "#### 3. Add ", "#### 42"),
    "answers": ("#### 3. ", "answer ", "#### 42"), "stopped": ("#### 3. a", ".", "#### 42"),
    "words": ("#### ", "twelve ", "(12)"), "word remarks": ("#### 42 ", "(twelve)", ""),
    "nested words": ("#### ", "twelve (", "12"), "short nested words": ("#### ", "one (" * 150 + "1\n", ""),
    "sizes": ("#### 3", " million", ""),
}  # fmt: skip


@pytest.mark.parametrize("shape", NASTY)
def test_no_pattern_is_quadratic(shape):
    """100,000 characters cost some 30 ms of CPU; a quadratic pattern takes many seconds for them."""
    start, middle, end = NASTY[shape]
    text = start + middle * (100_000 // len(middle)) + end
    begin = time.process_time()
    judge(text, "42")
    parse_lenient(text)
    lm_eval_strict(text), lm_eval_flexible(text)
    assert time.process_time() - begin < 2
