"""lm-eval's rules on MATH: what ours say is what lm-eval itself said, and nothing hangs."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.lib.answers import judging, math_process
from components.lib.answers.lm_eval_math import RULES, hendrycks_answer, hendrycks_correct, minerva_answer, verdicts
from tests.lib.answers import lm_eval_math_table
from tests.lib.answers.test_math import EVIL

pytest.importorskip("math_verify", reason="needs math-verify: no mathematics is judged")


def test_the_rules_agree_with_lm_eval():
    about, *rows = map(json.loads, lm_eval_math_table.TABLE.read_text(encoding="utf-8").splitlines())
    told = "run `make lm-eval-table`"
    assert [(row["completion"], row["gold"]) for row in rows] == lm_eval_math_table.cases(), told
    assert "lm-eval 0.4.13, math-verify 0.9.0" in about["made by"], told
    for row in rows:
        found = verdicts(row["completion"], row["gold"])
        assert found == {rule: row[rule] for rule in RULES}, row
        answer = minerva_answer(row["completion"])
        assert ("[invalidanswer]" if answer is None else answer) == row["minerva_answer"], row


def test_malicious_completions_are_bounded():
    spent = []
    for answer in EVIL:
        begin = time.monotonic()
        found = verdicts(f"So $x$. Final Answer: The final answer is ${answer}$. I hope it is correct.", "42")
        spent.append(time.monotonic() - begin)
        assert set(found) == set(RULES) and not found["hendrycks_math"]
    assert max(spent) < 2 * (math_process.LIMIT_S + 1)


@pytest.mark.parametrize(
    "text",
    [
        "$" * 20_000,
        "Final Answer: The final answer is " * 600,
        "\\frac" * 4_000,
        "\\text{ " * 3_000,
        "=" * 20_000,
        "$a" * 9_000,
    ],
)
def test_long_completions_take_no_long_time(text):
    begin = time.monotonic()
    hendrycks_correct(hendrycks_answer(text), text[:100])
    minerva_answer(text)
    assert time.monotonic() - begin < 1


def test_what_runs_out_of_time_is_wrong(monkeypatch):
    said = "Final Answer: The final answer is $x+x$. I hope it is correct."
    assert verdicts(said, "2x") == {"hendrycks_math": False, "minerva_math": True, "math_verify": True}
    monkeypatch.setattr(math_process, "LIMIT_S", 0.0)
    assert not any(verdicts(said, "2x").values())
    monkeypatch.undo()
    assert verdicts(said, "2x")["math_verify"], "by a new process"


@pytest.mark.parametrize(
    ("kind", "gold", "rules"),
    [
        ("number", "42", {"strict", "flexible"}),
        ("math", "42", set(RULES)),
        ("choice", "B", set()),
        ("text", "yes", set()),
    ],
)
def test_each_kind_has_the_rules_that_lm_eval_has_for_it(kind, gold, rules):
    row = {"gold": gold, "answers": kind, "options": ["a", "b"] if kind == "choice" else []}
    judged = judging.verdicts(f"<think>x</think>\n#### {gold}", row, prefilled=False, finish_reason="stop")
    assert judged["correct"] and set(judged["lm_eval"]) == rules


def test_older_answers_of_a_champion_are_judged_anew():
    kept = {"completion": "<think>x</think>\n#### 42", "gold": "42", "prefilled": False, "finish_reason": "stop",
            "lm_eval_strict": False, "lm_eval_flexible": False}  # fmt: skip
    assert judging.rejudged({"a": kept})["a"]["lm_eval"] == {"strict": True, "flexible": True}


_PARTS = [
    "Final Answer: The final answer is", " I hope it is correct.", "I hope it is correct", ".", "\n", " ", "$", "42",
    "\\frac", "\\sqrt", "{", "}", "/", "\\text{ ", "=", "é", "\r",
]  # fmt: skip


@given(st.lists(st.sampled_from(_PARTS), max_size=14).map("".join))
def test_the_sentence_is_found_as_the_pattern_of_lm_eval_finds_it(text):
    pattern = r"Final Answer: The final answer is(.*?). I hope it is correct."
    match = re.search(pattern, text + "I hope it is correct.")
    assert minerva_answer(text) == (match[1].strip() if match else None)


@given(st.lists(st.sampled_from(_PARTS), max_size=14).map("".join), st.text(max_size=8))
def test_the_rules_of_text_never_raise_and_an_answer_is_itself(text, gold):
    hendrycks_correct(hendrycks_answer(text), gold)
    assert hendrycks_correct(text, text)
