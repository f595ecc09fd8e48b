"""What counts as an answer: one table per rule, each case with the verdict that the rule gives it."""

import json
from fractions import Fraction

import pytest

from components.lib.answers.lm_eval_match import lm_eval_correct, lm_eval_flexible, lm_eval_strict
from components.lib.answers.parser import (
    format_answer,
    judge,
    parse_gold,
    parse_lenient,
    parse_strict,
)
from tests.fixtures.gsm8k import GSM8K, needs_gsm8k
from tests.lib.answers import lm_eval_table

# Rule 3: what stands behind `####` commits to exactly this number. Cells are separated by ` | ` and line ends.
VALUES = [
    # Bare, with punctuation or arrows.
    ("42", """
        42 | 42. | 42, | 42; | 42! | 42? | 42... | "42" | '42' | “42” | +42 | 042 | 42.0 | 42.00 | : 42 | = 42 | [42]
        {42} | (42) | ((42)) | <42> | #42 | 42 :) | ✅ 42 | 42 🎉 | -> 42 | → 42 | 42/1 | 84/2
    """),
    # Units.
    ("42", """
        42 apples | 42 km/h | 42 m^2 | 42 m² | 42 m2 | 42m2 | 42 m/s^2 | 42 CO2 molecules | 42kg | 42g | 42 °C | 42°C
        42 years old | 42-year-old | 42 dollars per hour | 42 sq. ft. | 42 seconds | 42 times | 42 more than Tom
        42nd | 42 left over | 42 fifth graders | 42 quarters | 42 boys and girls | 42 I think | 42 per person, per day
        42/hour | 42 in total | 42 kWh
    """),
    # Currency and percent.
    ("42", r"""
        $42 | 42$ | $ 42 | $42.00 | $42/hour | USD 42 | US$42 | USD42 | 42 USD | 42€ | €42 | £42 | ₹42 | Rs. 42
        Rs.42 | Rs. 42/- | 42 cents | 42¢ | 42% | 42 % | 42 percent | 42\%
    """),
    # Markdown and LaTeX.
    ("42", r"""
        **42** | *42* | __42__ | _42_ | `42` | ***42*** | **$42** | $**42** | **42**. | **42** apples | **42 apples**
        \boxed{42} | $42$ | $$42$$ | \( 42 \) | \[42\] | \text{42} | 42\text{ km} | \$42 | $\boxed{\$42}$.
        \mathbf{42} | \boxed{\text{42}} | 42\,\text{cm}^2 | 42^\circ | 42^{\circ}\text{C} | \left(42\right)
        \displaystyle 42 | \textcolor{red}{42}
    """),
    # Stop tokens, tags, calculator annotations.
    ("42", """
        42<|im_end|> | 42<|endoftext|> | 42</s> | 42<eos> | 42<end_of_turn> | 42 <pad><pad> | 42.<|eot_id|>
        <b>42</b> | <answer>42</answer> | <<6*7=42>>42 | $<<6*7=42>>42 | 42 <｜end▁of▁sentence｜> | 42&nbsp;km
    """),
    # Remarks in brackets.
    ("42", """
        42 (6 * 7) | 42 (since 6 * 7 = 42) | 42 (about 3 dozen) | 42 (not 43) | 42 (42.0) | 42 (which is more than 40)
        42 (dollars) | 42 (or 42.00) | 42 (i.e. 6 * 7) | 42 ($42.00) | 42 (see step 2) | (a) 42 | Cost (3 items): 42
        42 [per day] | 42 (unclosed remark of 3 words
    """),
    # Sentences and equations.
    ("42", r"""
        The answer is 42 | The final answer is: 42. | Answer: **42** | **Answer:** 42 | x = 42 | x_1 = 42
        $x_{1} = 42$ | So she has 42 left. | Tom and Jerry have 42 | 6*7 = 42 | 6 x 7 = 42 apples | 40 + 2 = 42
        (6+1)*6 = 42 | 84/2 = 42 | 48 – 6 = 42 | 2^5 + 10 = 42 | 6 \times 7 = \boxed{42} | 21 eggs/day × $2 = $42
        Total = 40 + 2 = 42 | Total for three days: 42 | 42 is the answer | exactly 42 | 答案：42 | 答案是42个
    """),
    # Thousands.
    ("1234567", """
        1,234,567 | 1 234 567 | 1\u00a0234\u00a0567 | 1\u2009234\u2009567 | 1\u202f234\u202f567 | 1,234,567.00
        $1,234,567 | 1{,}234{,}567 | 1\\,234\\,567 | 1,\\!234,\\!567 | 1234567 | 1.234567 million | 1.234567e6
    """),
    # Fractions.
    ("1/2", r"""
        1/2 | 1 / 2 | 1⁄2 | 2/4 | 0.5 | .5 | 0.50 | ½ | \frac{1}{2} | \dfrac{1}{2} | \tfrac12 | \frac 1 2
        \boxed{\frac{1}{2}} | 1/2 cup | ½ cup | 1/2 of the pie | 0.5 (50%) | 1/2 (0.5) | 1/2 = 0.5 | $.50 | 5e-1
    """),
    # Mixed numbers.
    ("3/2", r"""
        1 1/2 | 1½ | 1 ½ | 1\frac{1}{2} | 1 \frac12 | 1.5 | 3/2 | 1 1/2 hours
    """),
    # Signs.
    ("-5", r"""
        -5 | −5 | - 5 | –5 | ‑5 | －5 | -$5 | $-5 | −$5 | -US$5 | -USD 5 | USD -5 | (-5) | -(5) | -**5** | **-5**
        \boxed{-5} | -\boxed{5} | minus 5 | negative 5 | Answer: -5 | x = -5 | Total -5 | -5.0 | -5% | -5 °C
        -\frac{10}{2}
    """),
    ("-3/2", r"""
        -1 1/2 | -1½ | −1.5 | -\frac{3}{2} | -3/2
    """),
    # Scientific notation and scale words.
    ("2000", r"""
        2e3 | 2E3 | 2e+3 | 2 x 10^3 | 2 × 10^3 | 2×10³ | $2 \times 10^{3}$ | 2k | 2K | $2k | 2 thousand | 20 hundred
        2,000 | 2k miles
    """),
    ("3000000", """
        3 million | 3 million dollars | $3 million | $3M | 3M | $3m | 3e6 | 3-million | 3million | 0.003 billion
    """),
    # Zero.
    ("0", """
        0 | -0 | 0.0 | $0 | 0 apples | 0% | 0/5
    """),
    # A percentage answers its number.
    ("25", r"""
        25% | 25 % | 25\% | 25 percent | 25 percentage points
    """),
]  # fmt: skip

# Rule 4, and texts that commit to no number or to one that their digits alone do not give.
REFUSED = r"""
    42 or 43 | 42, 43 | 42 and 43 | 42; 43 | 42 vs 43 | either 42 or 43 | 42 43 | 42/43/44 | (42, 43) | [42, 43]
    42 or forty-three
    forty or 42 | 42 (or 43) | 42 (43) | 42 [43] | 42 (wait, 43) | 42 (maybe 43) | 42 (or forty-three) | $42 $43
    **42** **43** | 42/forty-three
    40-42 | 40 – 42 | 40 to 42 | from 40 to 42 | between 40 and 42 | 10-20% | [40, 42] | 42+ | 42 or more
    42-43 apples | 40..42
    3:2 | 3 : 2 | 3 to 2 | 42 out of 50 | 3 to one | 1:1 | 3:30 | 3:30 pm | 12:05:00
    3h 30min
    2024-01-05 | 5/6/2020 | January 5, 2024 | May 5 | 5 May | 5th of May | 05.06.2020 | Jan. 5
    not 42 | Not 42 | isn't 42 | isn’t 42 | is not 42 | The answer is not: 42 | never 42 | ≠ 42 | != 42 | \neq 42
    \not= 42 | anything but 42
    other than 42 | rather than 42 | 42 is wrong | 42 is not the answer | 42 (wrong) | 42? no | cannot be 42 | ❌ 42
    42 ✗ | <del>42</del> | ~~42~~
    about 42 | ~42 | ≈ 42 | approximately 42 | 42 or so | maybe 42 | 42, maybe | could be 42 | at least 42
    at most 42 | more than 42 | < 42 | > 42
    x > 42 | ≥ 42 | up to 42 | ±42 | 42 ± 1 | +-42 | --42 | Total - 42 | Total-42 | |-42| | 42 below zero | &minus;42
    — 42
    6*7 | 40+2 | 40 + 2 | 2^5 | 2**5 | 42^2 | 42² | 10^3 | 10³ | √42 | \sqrt{42} | sqrt(42) | f(42) | 42x | 42 x
    2x = 84 | x^2 = 42 | 42π | 42\pi
    42 squared | quarter past 3 | a third of 42 | close to 42 | none of 42 | 42 (no) | half of 42 | twice 42 | 3 dozen
    42 and a half | 2 thirds | two times 42 | 42 × | × 42 | 42 * x | 42 + tax | log 42
    x = 3, y = 42 | 3 apples = 42 | 1 foot = 12 inches | 43 because 6*7 = 42 | 41 = 42 | 5 feet 3 inches | 5'3"
    42 apples and 3 pears
    1,23 | 1,2345 | 12,34 | 0,234 | 1.234,56 | 12 34 | 42,5 | 1.2.3 | 4 2 | 4\u200b2 | ,42 | 1/0
    \frac{1}{0} | 1/2/3 | 1.5/2
    0x2A | 0b11 | 2e | 1e999999999 | 1e-999999999 | 0.333... | 0.(3) | 0.\overline{3} | 42万 | 4️⃣2️⃣ | v42beta
    answer42 | 42 3 2
    forty-two | XLII | none | unknown | ٤٢ | ４２ | 4٢ | ४२ | 四十二 | ¼٢ | \boxed{} | $$ | ... | - | #
""".replace(r"\u200b", "\u200b")


def _cells(table):
    return [cell.strip() for line in table.strip().splitlines() for cell in line.split(" | ")]


@pytest.mark.parametrize(("text", "gold"), [(cell, gold) for gold, row in VALUES for cell in _cells(row)])
def test_rule_3_one_number_in_any_dress(text, gold):
    for completion in (
        f"<think>6 * 7</think>\n#### {text}",
        f"####{text}\n",
        f"Six times seven.\n\n**#### {text}**\nDone: 7",
    ):
        verdict = judge(completion, gold)
        assert (verdict.correct, verdict.answer) == (True, Fraction(gold))
        assert verdict.text == format_answer(Fraction(gold)) and verdict.markers == 1 and not verdict.unparsed
        assert not judge(completion, "41").correct
    if gold not in ("1/2", "0"):
        opposite = gold[1:] if gold.startswith("-") else f"-{gold}"
        assert not judge(f"#### {text}", opposite).correct


@pytest.mark.parametrize("text", _cells(REFUSED))
def test_rule_4_no_single_commitment(text):
    assert parse_strict(f"<think>6 * 7</think>\n#### {text}") is None
    verdict = judge(f"<think>6 * 7</think>\n#### {text}", "42")
    assert (verdict.correct, verdict.unparsed, verdict.think_ok) == (False, True, True)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("#### 42", 42),
        ("<think>#### 41</think>\n#### 42", 42),
        ("reasoning</think>\n#### 42", 42),
        ("<think>a</think><think>b</think>#### 42", 42),
        ("<think>a <think> b</think> #### 42", 42),
        ("<think>a</think> b </think>\n#### 42", 42),
        ("<Think>a</Think>\n#### 42", 42),
        ("#### 41</think>#### 42", 42),
        ("<think>#### 42", None),
        ("<think>#### 42</think>", None),
        ("#### 42\n<think>checking</think>", None),
        ("<think>a</think>#### 42<think>", None),
        ("</think>#### 42<think>b", None),
        ("", None),
    ],
)
def test_rule_1_answer_region(completion, answer):
    assert parse_strict(completion) == answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("#### 42\nand 43 more", 42),
        ("#### 42\r\nand 43 more", 42),
        ("#####42", 42),
        ("so #### 42", 42),
        ("#### #### 42", 42),
        ("####\n42", None),
        ("### 42", None),
        ("# # # # 42", None),
        ("The answer is 42", None),
        (r"\boxed{42}", None),
        ("42", None),
        ("#### 42\n#### Explanation", None),
        ("#### 42 ####", None),
    ],
)
def test_rule_2_the_line_of_the_last_marker(completion, answer):
    assert parse_strict(completion) == answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("#### 42\n#### 42", 42),
        ("#### 42\n" * 200, 42),
        ("#### $42.00\n#### 42", 42),
        ("#### 6 * 7 = 42\n#### 42", 42),
        ("#### Solution\nwork\n#### 42", 42),
        ("#### Step 1: add 3\nwork\n#### Step 2\nwork\n#### 42", 42),
        ("#### 41 ... wait, #### 42", 42),
        ("#### 41\nActually, I forgot one.\n#### 42", 42),
        ("#### 41\nCorrection:\n#### 42", 42),
        ("#### 41\nSorry, I made a mistake.\n#### 42\n#### 42", 42),
        ("#### 41\nNo, that counts Bob twice.\n#### 42", 42),
        ("#### 41\n#### 42", None),
        ("#### 42\n#### 41\n#### 42", None),
        ("#### 41 #### 42", None),
        ("#### 41 or #### 42", None),
        ("#### 41\nAlternatively:\n#### 42", None),
        ("#### 41\nLet me double-check.\n#### 42", None),
        ("#### 41\nThere is no mistake.\n#### 42", None),
        ("#### 40\n#### 41\nwait\n#### 42", None),
        ("#### The answer is 41\n#### The answer is 42", None),
        ("#### 40 or 41\n#### 42", None),
        ("#### Solution: 41\n#### 42", None),
        ("#### Step 3, final answer: 41\n#### 42", None),
        ("".join(f"#### {n}\n" for n in range(50)) + "#### 42", None),
    ],
)
def test_rule_4_runs_of_markers(completion, answer):
    assert parse_strict(completion) == answer


@pytest.mark.parametrize(
    ("completion", "ok"),
    [
        ("<think>a</think>\n#### 42", True),
        ("<think>a</think>", True),
        ("Let me see. <think>a</think>\n#### 42", True),
        ("#### 41 <think>a</think>\n#### 42", True),
        ("#### 42 <think>a</think>", False),
        ("The answer is 42. <think>a</think> Done.", False),
        ("<think></think>\n#### 42", False),
        ("<think> \n\t\u200b\u00a0\ufeff</think>\n#### 42", False),
        ("<think>a\n#### 42", False),
        ("a</think>\n#### 42", False),
        ("</think>a<think>\n#### 42", False),
        ("<think>a</think><think>b</think>\n#### 42", False),
        ("<think><think>a</think>\n#### 42", False),
        ("<think>a</think></think>\n#### 42", False),
        ("<Think>a</Think>\n#### 42", False),
        ("#### 42", False),
        ("", False),
    ],
)
def test_rule_5_think_ok(completion, ok):
    assert judge(completion, "42").think_ok is ok


@pytest.mark.parametrize(
    ("completion", "marked"),
    [
        ("#### 42", True),
        ("<think>a</think>#### 41", True),
        ("text\n  **#### 42**", True),
        ("text\n> #### $42.", True),
        ("text\n`#### 42`", True),
        ("text\n\\boxed{#### 42}", True),
        ("#### 41\n#### 42", True),
        ("#### 42 apples", True),
        ("#### not 42", True),
        ("Answer: #### 42", False),
        ("#### 41 wait #### 42", False),
        ("#### 42 or 43", False),
        ("#### forty-two", False),
        ("#### 3:30", False),
        ("####\n42", False),
        ("#### 42\n#### Done", False),
        ("<think>#### 42</think>", False),
        ("42", False),
    ],
)
def test_rule_6_answer_marked(completion, marked):
    assert judge(completion, "42").answer_marked is marked


def test_a_prefilled_tag_is_part_of_the_completion():
    completion = "6 * 7</think>\n#### 42"
    assert (judge(completion, "42").think_ok, judge(completion, "42", prefilled=True).think_ok) == (False, True)
    assert parse_strict("#### 42") == 42 and parse_strict("#### 42", prefilled=True) is None
    assert parse_lenient("so 42", prefilled=True) is None
    assert not judge("<think>a</think>\n#### 42", "42", prefilled=True).think_ok


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"<think>7</think> Thus $\boxed{\frac{1}{2}}$ as 3 > 2.", Fraction(1, 2)),
        (r"\boxed{41} no, \boxed{\text{42 km}} or 7", 42),
        ("The answer is 42. It took 3 steps.", 42),
        ("**Answer:** 42 apples\nGoodbye", 42),
        ("<think>41</think>\n\n42", 42),
        ("#### 41\n#### 42", 42),
        ("The answer is 41 or 42.", None),
        ("<think>The answer is 42", None),
        ("nothing", None),
    ],
)
def test_lenient_reads_more_and_is_never_paid(completion, answer):
    assert parse_lenient(completion) == answer
    assert not judge(completion, "42").correct


@pytest.mark.parametrize(
    ("gold", "value"),
    [
        ("72", 72),
        ("1,000", 1000),
        ("$5", 5),
        ("-3", -3),
        ("0.50", "1/2"),
        ("1/2", "1/2"),
        ("a 3\n#### 72", 72),
        (" 7 ", 7),
    ],
)
def test_gold(gold, value):
    assert parse_gold(gold) == Fraction(value)


@pytest.mark.parametrize("gold", ["", "abc", "1 or 2", "1/0", "#### ", "9" * 5000])
def test_gold_that_is_not_one_number(gold):
    with pytest.raises(ValueError, match="is not one number; write it like '42'"):
        judge("#### 42", gold)


def test_arithmetic_is_exact_at_any_length():
    long = "7" * 400
    assert judge(f"#### {long}", long).correct and judge(f"#### {long}.0 m", long).correct
    assert not judge(f"#### {long}", long[:-1] + "8").correct
    assert judge("#### 0.1", "1/10").correct and not judge("#### 0.3333333333333333333", "1/3").correct
    assert judge("#### 1e400", "1" + "0" * 400).correct
    for digits in ("9" * 10_000, "1." + "0" * 10_000, "0" * 10_000 + "1", "1e" + "9" * 10_000, "1/" + "9" * 10_000):
        assert judge(f"#### {digits}", "42").unparsed


@needs_gsm8k
def test_gsm8k_references_are_right_and_their_neighbours_wrong():
    for name, rows in (("train.jsonl", 7473), ("test.jsonl", 1319)):
        answers = [json.loads(line)["answer"] for line in (GSM8K / name).read_text("utf-8").strip().split("\n")]
        assert len(answers) == rows
        for answer in answers:
            gold = answer.rsplit("#### ", 1)[1]
            assert parse_gold(gold) == parse_gold(answer) == int(gold.replace(",", ""))
            assert judge(answer, gold).correct and not judge(answer, f"{gold}.5").correct


def test_lm_eval_rules_agree_with_lm_eval():
    about, *rows = map(json.loads, lm_eval_table.TABLE.read_text(encoding="utf-8").splitlines())
    assert [row["completion"] for row in rows] == lm_eval_table.COMPLETIONS, "run `make lm-eval-table`"
    assert about["golds"] == lm_eval_table.GOLDS and "lm-eval 0.4.13" in about["made by"], "run `make lm-eval-table`"
    for row in rows:
        for name, ours in (("strict-match", lm_eval_strict), ("flexible-extract", lm_eval_flexible)):
            extracted = ours(row["completion"])
            accepted = [gold for gold in about["golds"] if lm_eval_correct(extracted, gold)]
            assert [extracted or "[invalid]", accepted] == row[name], row["completion"]
    for name in ("strict-match", "flexible-extract"):
        verdicts = {bool(row[name][1]) for row in rows} | {row[name][0] == "[invalid]" for row in rows}
        assert verdicts == {True, False}, f"the table shows nothing of {name}"
