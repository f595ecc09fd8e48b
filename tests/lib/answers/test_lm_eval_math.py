"""lm-eval's rules on MATH: what ours say is what lm-eval itself said, and nothing hangs."""

import json

import pytest

from components.lib.answers.lm_eval_math import RULES, minerva_answer, verdicts
from tests.lib.answers import lm_eval_math_table

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
