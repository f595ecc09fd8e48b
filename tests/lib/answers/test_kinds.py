"""The kinds `choice` and `text`, the form `boxed`, and what holds for every kind; tables written from the rules."""

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.lib.answers import parser
from components.lib.answers.kinds import KINDS, Question, check_gold, judge
from components.lib.answers.score import score_lines
from tests import ROOT

OPTIONS = ("A)32400", "B)6000", "C)600", "D)60000", "E)10")
TASKS = Path(os.environ.get("GRPO_TEST_DATA", ROOT.parent / "shared")) / "tasks"
tasks = pytest.mark.skipif(not TASKS.exists(), reason="shared/tasks, with MATH-500 and AQuA, is not here")
LINE, BOX = "<think>x</think>\n#### {}", "<think>x</think>\nSo it is $\\boxed{{{}}}$."


def right(answer, gold, kind, options=()):
    line = judge(LINE.format(answer), Question(gold, kind, "marker", options)).correct
    assert line == judge(BOX.format(answer), Question(gold, kind, "boxed", options)).correct
    return line


@pytest.mark.parametrize(
    "answer",
    ["B", "b", "(B)", "(b)", "[B]", "B)", "B.", "**B**", "\\text{B}", "\\text{(B)}", "$B$", "B) 6000", "(B) 6000",
     "B. 6000", "B: 6000", "b) 6000", "B 6000", "Option B", "The answer is B.", "**(B)** 6000", "\\mathrm{B}"],
)  # fmt: skip
def test_the_letter_of_the_right_option(answer):
    assert right(answer, "B", "choice", OPTIONS)


@pytest.mark.parametrize(
    "answer",
    ["A", "F", "6000", "", "AB", "A, B", "B or C", "B, C", "B/C", "A and B", "not B", "B) 600", "B?", "(B) or (C)",
     "B or not", "maybe B", "Because", "BB", "none", "B (not C)", "all of A-E"],
)  # fmt: skip
def test_another_letter_or_no_one_letter(answer):
    assert not right(answer, "B", "choice", OPTIONS)


def test_without_options_any_single_letter_counts():
    assert right("(h)", "H", "choice") and right("b. 17 km", "B", "choice") and not right("HH", "H", "choice")


@pytest.mark.parametrize("gold", ["F", "AB", "6000", ""])
def test_a_gold_that_is_no_option_is_refused(gold):
    with pytest.raises(ValueError, match="is not one letter of A, B, C, D, E; write the letter"):
        judge("", Question(gold, "choice", "marker", OPTIONS))


@pytest.mark.parametrize(
    "answer",
    ["New York", "new york", "NEW  YORK", "New York.", '"New York"', '"New York."', '"New York".', "**New York**",
     "`New York`", "\\text{New York}", "_New York_", "“New York”", "$\\text{New York}$", " New\tYork ", "New York</s>"],
)  # fmt: skip
def test_the_same_text(answer):
    assert right(answer, "New York", "text") and right("New York", answer, "text")


@pytest.mark.parametrize(
    "answer", ["NewYork", "New York!", "New York..", "York", "the New York", "New York or Rome", "", "New-York"]
)
def test_another_text(answer):
    assert not right(answer, "New York", "text")


def test_text_is_compared_after_nfc_and_case_folding():
    assert (
        right("CAFE\u0301", "café", "text") and right("STRASSE", "Straße", "text") and not right("cafe", "café", "text")
    )


@pytest.mark.parametrize("gold", ["", "one\ntwo", " ".join(["word"] * 13)])
def test_a_gold_of_text_is_a_short_line(gold):
    with pytest.raises(ValueError, match="is not one line of 1 to 12 words; shorten it"):
        judge("", Question(gold, "text"))


@pytest.mark.parametrize("kind,one,other", [("math", "42", "41"), ("choice", "B", "A"), ("text", "east", "west")])
def test_the_last_of_several_answers_counts_outside_the_think_block(kind, one, other):
    for form, line in (("marker", "\n#### {}\n"), ("boxed", " \\boxed{{{}}} and so on. ")):
        first, last = line.format(one), line.format(other)
        assert judge(f"<think>{last}</think>{first}", Question(one, kind, form)).correct
        assert judge(last + first, Question(one, kind, form)).correct
        assert not judge(first + last, Question(one, kind, form)).correct
        assert not judge(f"<think>{first}", Question(one, kind, form)).correct
        assert not judge(f"{first}</think>", Question(one, kind, form)).correct
        assert judge(f"x</think>{first}", Question(one, kind, form, prefilled=True)).think_ok


@pytest.mark.parametrize(
    "text",
    ["\\boxed{41} or \\boxed{42}", "not \\boxed{42}", "\\boxed{42} or 43", "\\boxed{42", "\\boxed{}", "42", "#### 42"],
)
def test_a_box_that_is_hedged_denied_or_open_is_none(text):
    assert not judge(text, Question("42", "math", "boxed")).correct


@pytest.mark.parametrize("text", ["#### 42", "#### 41 or 42", "<think>a</think>\n#### $42", "#### 41\n#### 42", "no"])
def test_number_keeps_its_rule_and_its_result(text):
    old, new = parser.judge(text, "42"), judge(text, Question("42"))
    assert [getattr(old, name) for name in ("text", "correct", "think_ok", "answer_marked", "unparsed")] == [
        getattr(new, name) for name in ("text", "correct", "think_ok", "answer_marked", "unparsed")
    ]


@pytest.mark.parametrize("answer,correct", [("42", True), ("\\$42.00", True), ("41", False), ("42 or 43", False)])
def test_a_boxed_number(answer, correct):
    assert judge(BOX.format(answer), Question("42", "number", "boxed")).correct == correct


def test_unknown_kinds_and_forms_are_named():
    with pytest.raises(ValueError, match="answers 'sum' in the form 'marker' are unknown; take one of number, math"):
        check_gold(Question("1", "sum"))


PIECES = [*"AB ab01{}()[]\\$#*_^/.,=<>|\n\"'é", "\\boxed{", "\\text{", "<think>", "</think>", " or ", "####"]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
@settings(max_examples=300, deadline=None)
def test_no_completion_raises_or_takes_long(text):
    begin = time.process_time()
    for kind, gold in (("number", "42"), ("choice", "B"), ("text", "east")):
        for form in ("marker", "boxed"):
            for completion in (text, LINE.format(text), BOX.format(text)):
                judge(completion, Question(gold, kind, form))
    assert time.process_time() - begin < 1


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1, max_size=12).map(" ".join))
@settings(deadline=None)
def test_a_gold_of_text_equals_itself(gold):
    assert right(gold, gold, "text")


@given(st.integers().map(str) | st.fractions().map(str) | st.sampled_from(["x^2", "(1,2]", "\\{1,2\\}", "1 \\pm x"]))
@settings(deadline=None)
def test_a_gold_of_math_equals_itself(gold):
    assert right(gold, gold, "math")


@pytest.mark.parametrize("kind,gold", [("math", "42"), ("choice", "B"), ("text", "east"), ("number", "42")])
def test_long_nasty_completions_are_judged_in_linear_time(kind, gold):
    for part in (
        "#### ",
        "\\boxed{",
        "{",
        "$",
        "\\text{",
        "(",
        "*",
        "a ",
        "\\",
        '"',
        "<think>",
        "\\boxed{1} or ",
        "####1",
    ):
        text = part * (100_000 // len(part))
        begin = time.process_time()
        for form in ("marker", "boxed"):
            judge(text, Question(gold, kind, form))
            judge("#### " + text, Question(gold, kind, form))
        assert time.process_time() - begin < 2, part


def rows(name):
    return [json.loads(line) for line in (TASKS / name).read_text("utf-8").splitlines()]


@tasks
def test_each_gold_of_math500_equals_itself():
    for row in rows("math500.jsonl"):
        assert right(row["answer"], row["answer"], "math"), row["answer"]


@tasks
def test_the_solutions_of_math500_state_their_golds():
    """All but one, whose two boxes are joined by "or"."""
    kept = [judge(row["solution"], Question(row["answer"], "math", "boxed")).correct for row in rows("math500.jsonl")]
    assert sum(kept) == 499


@tasks
def test_no_gold_of_math500_equals_its_neighbour_unless_it_is_the_same():
    pytest.importorskip("math_verify", reason="needs math-verify: no mathematics is judged")
    golds = [row["answer"] for row in rows("math500.jsonl")]
    equal = [pair for pair in pairwise(golds) if judge(LINE.format(pair[1]), Question(pair[0], "math")).correct]
    assert {pair for pair in equal if pair[0] != pair[1]} <= {("5", "x=5")}


@tasks
@pytest.mark.parametrize("name", ["aqua_dev.jsonl", "aqua_test.jsonl"])
def test_each_option_of_aqua_is_told_from_the_others(name):
    for row in rows(name):
        options = tuple(row["options"])
        for option in options:
            assert right(option, row["correct"], "choice", options) == (option[0] == row["correct"]), option


def test_a_line_names_its_kind_form_and_options():
    lines = [
        {"completion": "\\boxed{b}", "gold": "B", "answers": "choice", "form": "boxed", "options": ["x", "y"]},
        {"completion": "#### Paris.", "gold": "paris"},
    ]
    judged = [judgement for _, judgement in score_lines(map(json.dumps, lines), "in", answers="text")]
    assert [judgement.correct for judgement in judged] == [True, True] and judged[0].text == "B"
    with pytest.raises(ValueError, match="in:1: options 3 is not a list of strings"):
        list(score_lines(['{"completion": "", "gold": "A", "options": 3}'], "in"))


def test_the_verb_knows_every_kind():
    import pipeline

    assert pipeline.main(["score", "missing", "--answers", "other"]) == 2
    assert KINDS == ("number", "math", "choice", "text")
