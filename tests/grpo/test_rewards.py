"""The rewards pay what answers.py calls right, and nothing that could be gamed."""

import pytest

from components.grpo import rewards
from components.lib.answers.kinds import Question

RIGHT = "7+9=16\n</think>\n\n#### 16"
WRONG = "7+9=15\n</think>\n\n#### 15"


def paid(completion, gold="16", finished=True, prefilled=True):
    """(correctness, think_format, answer_marker) of one completion."""
    judged = rewards.judgements([completion], [Question(gold, prefilled=prefilled)], [finished])
    return tuple(pay(judged)[0] for pay in (rewards.correctness, rewards.think_format, rewards.answer_marker))


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (RIGHT, (1, 1, 1)),
        (WRONG, (0, 1, 1)),
        ("\n</think>\n\n#### 16", (1, 0, 0)),
        ("7+9=16 #### 16", (0, 0, 0)),
        ("7+9=16\n#### 16\n</think>\n\nsixteen", (0, 0, 0)),
        ("7+9=16\n</think>\n\nThe answer is 16.", (0, 0, 0)),
        ("7+9=16\n</think>\n\n#### sixteen-ish", (0, 0, 0)),
        ("7+9=16\n</think>\n\n#### 15\n#### 16", (0, 0, 0)),
        ("7+9=16\n</think>\n</think>\n\n#### 16", (1, 0, 0)),
        ("", (0, 0, 0)),
        ("#" * 5000, (0, 0, 0)),
        ("x\n</think>\n\n#### " + "9" * 400, (0, 1, 1)),
    ],
)  # fmt: skip
def test_what_a_completion_is_paid(completion, expected):
    assert paid(completion) == expected


def test_nothing_is_paid_for_a_completion_that_was_cut_off():
    assert paid(RIGHT, finished=False) == (0, 0, 0)


def test_an_unprefilled_completion_must_open_its_block():
    assert paid(f"<think>\n{RIGHT}", prefilled=False) == (1, 1, 1)
    assert paid(RIGHT, prefilled=False)[1:] == (0, 0)
    assert paid(f"<think>\n{RIGHT}", prefilled=True)[1:] == (0, 0)


def test_rewards_are_one_float_per_completion_in_order():
    completions = [RIGHT, WRONG, RIGHT, RIGHT]
    asked = [Question(gold, prefilled=True) for gold in ("16", "16", "15", "16")]
    judged = rewards.judgements(completions, asked, [True, True, True, False])
    assert rewards.correctness(judged) == [1.0, 0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="shorter"):
        rewards.judgements(completions, asked[:3], [True] * 4)


def test_rates_of_a_batch():
    completions = [RIGHT, WRONG, RIGHT, "16", f"{WRONG}\nWait, that is wrong.\n#### 16"]
    finished = [True, True, False, True, True]
    judged = rewards.judgements(completions, [Question("16", prefilled=True)] * 5, finished)
    assert rewards.rates(judged, finished) == {
        "correct": 0.4, "unparsed": 0.4, "multi_marker": 0.2, "truncated": 0.2, "format_without_correct": 0.2,
        "timed_out": 0.0,
    }  # fmt: skip
