"""The kind `math`: every answer of the cases is tried in both forms; what is malicious is bounded."""

import time
from fractions import Fraction

import pytest

from components.lib.answers import math_process
from components.lib.answers.judging import verdicts
from components.lib.answers.kinds import Question, judge, judge_all
from tests.lib.answers.math_cases import RIGHT, WRONG

pytest.importorskip("math_verify", reason="needs math-verify: no mathematics is judged")

EVIL = [
    "9^{9^{9^{9}}}", "9**9**9**9", "{" * 10_000 + "1" + "}" * 10_000, "(" * 10_000, "\\frac{" * 5_000, "10^{10^{10}}",
    "99999!", "(99999!)!", "999^{999}!", "+".join(["1"] * 5_000), "+".join(f"x^{{{i}}}" for i in range(5_000)),
    "\\sqrt{" * 200 + "2" + "}" * 200, "(x+1)^{1000}", "(1+x)^{999}(1-x)^{999}", "((2^{999})^{999})^{999}",
    "9" * 10_000,
    "\\sum_{k=1}^{1000000} \\frac{1}{k}", "\\binom{100000}{50000}", "1e999999999", "x=" * 1_000 + "42", "x\\pm" * 100,
    "42," * 1_000 + "42", "\\{" * 50 + "42" + "\\}" * 50, "\\sin(\\cos(\\tan(\\sin(\\cos(\\tan(x))))))",
    "\ud800", "\x00",
]  # fmt: skip


def test_the_process_is_there():
    """First, so that its start counts for none of the others."""
    assert judge("#### 2(x+1)", Question("2x+2", "math")).correct


@pytest.mark.parametrize("row", RIGHT)
def test_what_is_mathematically_the_same_is_right(row):
    gold, _, answer = row.partition(" ~ ")
    assert judge(f"<think>x</think>\n#### {answer}", Question(gold, "math")).correct
    assert judge(f"So it is $\\boxed{{{answer}}}$.", Question(gold, "math", "boxed")).correct


@pytest.mark.parametrize("row", WRONG)
def test_what_is_rounded_hedged_stuffed_or_another_is_wrong(row):
    gold, _, answer = row.partition(" ~ ")
    assert not judge(f"<think>x</think>\n#### {answer}", Question(gold, "math")).correct
    assert not judge(f"So it is $\\boxed{{{answer}}}$.", Question(gold, "math", "boxed")).correct


@pytest.mark.parametrize("gold", ["42", "x^2+1", "(1,2)"])
def test_malicious_answers_are_wrong_and_bounded(gold):
    spent = []
    for answer in EVIL:
        begin = time.monotonic()
        assert not judge(f"#### {answer}", Question(gold, "math")).correct
        spent.append(time.monotonic() - begin)
    assert max(spent) < 10 * math_process.LIMIT_S  # its own limit is of processor time; others may run beside it


def test_what_runs_out_of_time_is_wrong_and_counted(monkeypatch):
    monkeypatch.setattr(math_process, "LIMIT_S", 0.0)
    judged = judge("#### (x+1)^{37}", Question("(x+1)^{36}(1+x)", "math"))
    assert judged.timed_out and not judged.correct
    row = {"gold": "(x+1)^{36}(1+x)", "answers": "math"}
    assert verdicts("#### (x+1)^{37}", row, prefilled=False, finish_reason="stop")["timed_out"]
    monkeypatch.undo()
    assert judge("#### 3(x+1)", Question("3x+3", "math")).correct  # by a new process


def test_a_batch_has_its_limit_but_plain_answers_need_no_time():
    rows = [("#### 5x+5", Question("5(x+1)", "math")), ("#### 42.0", Question("42", "math"))]
    assert [(j.correct, j.timed_out) for j in judge_all(rows, limit_s=0)] == [(False, True), (True, False)]


def test_the_process_ends_when_told():
    judge("#### 7x+7", Question("7(x+1)", "math"))
    math_process.end()
    assert judge("#### 9x+9", Question("9(x+1)", "math")).correct


def test_numbers_are_exact():
    from components.lib.answers.math_text import in_base, number, spelled

    assert number("\\frac{1}{3}") == Fraction(1, 3) and in_base("52_8") == 42 and in_base("9_8") is None
    assert spelled("0.\\overline{3}") == "\\frac{1}{3}"
