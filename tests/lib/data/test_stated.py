"""Which answers a text states, and which of them are the same."""

import pytest

from components.lib.data.adapters.stated import agree, stated, without_headings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("So \\boxed{7} and \\boxed{8}.", ["7", "8"]),
        ("3+4\n#### 7", ["7"]),
        ("#### -7", ["-7"]),
        ("#### 3. Add\n\\boxed{7}", ["7"]),
        ("#### Solution\n3+4\n#### Paris", ["Paris"]),
        ("#### \\boxed{7}", ["7"]),
        ("The answer is: 7\nDone.", ["7"]),
        ("the final answer is: $\\frac{1}{2}$.", ["\\frac{1}{2}"]),
        ("3-8=-5\nThe answer is -5.", ["-5"]),
        ("Answer - A", ["A"]),
        ("ANSWER:D", ["D"]),
        ("Answer: Option (b)", ["B"]),
        ("Ans: 5", ["5"]),
        ("x\nE)", ["E"]),
        ("Therefore A is correct", ["A"]),
        ("D is the answer", ["D"]),
        ("The answer is clear.", []),
        ("A man walks.", []),
        ("3+4=7", []),
        ("", []),
    ],
)
def test_the_answers_that_a_text_states(text: str, found: list[str]) -> None:
    assert stated(text) == found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("7", "7.0", True), ("7", "-7", False), ("1,000", "1000", True), ("Paris", "paris.", True),
        ("Paris", "Rome", False),
        ("\\textbf{(D)}\\ 5", "5", True), ("\\textbf{(D)}\\ 5", "D", True), ("\\text{(D) }5", "6", False),
        ("", "7", False),
    ],
)  # fmt: skip
def test_answers_that_are_the_same_without_algebra(one: str, other: str, same: bool) -> None:
    pytest.importorskip("math_verify", reason="needs math-verify: no mathematics is compared")
    assert agree(one, other) == agree(other, one) == same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("b", "B", True),
        ("(B) 7", "B", True),
        ("7", "B", True),
        ("7.0", "b", True),
        ("A", "B", False),
        ("9", "B", False),
    ],
)
def test_answers_that_are_the_same_option(one: str, other: str, same: bool) -> None:
    assert agree(one, other, ["6", "7"]) == agree(other, one, ["6", "7"]) == same


def test_headings_are_taken_out_of_the_answers_way() -> None:
    text = "#### Step 1: Add\n3+4\n#### Result\n#### 7"
    assert without_headings(text) == "### Step 1: Add\n3+4\n### Result\n#### 7"
