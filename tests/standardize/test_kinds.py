"""Kinds and forms of answers on their way from a source to the files of the later steps."""

import pytest

from components.lib.answers.kinds import Question, judge
from components.lib.generation.prompts import asking
from components.lib.recipe.schema import Source
from components.lib.registry.plan import Plan
from components.standardize.standardize import standardize
from tests.fixtures.rows import SETTINGS, read, reasons, write

TOWNS = ["Rome", "Oslo", "Lima", "Bern", "Cairo", "Quito", "Delhi", "Accra", "Paris", "Seoul"]


def towns(start, stop):
    """Rows {"question", "gold", "solution"} with a short text as gold."""
    return [
        {"question": f"Which town has the number {n} in the long list of towns that Ana wrote down?", "gold": town,
         "solution": f"Number {n} is {town}."}
        for n, town in enumerate(TOWNS[start:stop], start)
    ]  # fmt: skip


def standardized(tmp_path, *sources, test, form="marker", system_prompt=""):
    """The rows of all files."""
    plan = Plan(
        model="", revision="main", seed=0, sources=sources, evaluation=(test,), form=form, system_prompt=system_prompt
    )
    standardize(plan=plan, settings=SETTINGS, out=tmp_path / "out")
    return read(tmp_path / "out")


def source(tmp_path, name, rows, **more):
    """A source of the rows in a file."""
    return Source(path=write(tmp_path / f"{name}.jsonl", rows), name=name, **more)


@pytest.mark.parametrize(("form", "last"), [("marker", "#### Rome"), ("boxed", "\\boxed{Rome}")])
def test_a_problem_carries_all_that_is_needed_to_ask_and_to_judge(tmp_path, form, last):
    found = standardized(
        tmp_path, source(tmp_path, "train", towns(0, 5), adapter="gsm8k", answers="text"),
        test=source(tmp_path, "test", towns(5, 10), adapter="gsm8k", answers="text"), form=form,
    )  # fmt: skip
    rows = [row for split in ("problems", "plateau", "gate", "evaluation") for row in found[split]]
    assert len(rows) == 10
    row = next(row for row in rows if row["gold"] == "Rome")
    system, user = asking(row)
    assert system["content"].endswith(last.replace("Rome", "<answer>")) and user["content"] == row["question"]
    assert judge(f"<think>I know it</think>{last}", Question.of(row, prefilled=False)).correct
    assert not judge("<think>I know it</think>#### Oslo", Question.of(row, prefilled=False)).correct


def test_a_gold_that_is_none_of_its_kind_is_refused(tmp_path):
    rows = [*towns(0, 3), {"question": "What is the longest of all answers here?", "gold": "a " * 13, "solution": "x"}]
    found = standardized(
        tmp_path, source(tmp_path, "train", rows, adapter="gsm8k", answers="text"),
        test=source(tmp_path, "test", towns(5, 10), adapter="gsm8k", answers="text"),
    )  # fmt: skip
    assert reasons(found, "train") == {3: "bad-gold"}


@pytest.mark.parametrize(
    ("form", "answer", "expected"),
    [
        ("marker", "So it is 3/4.\n\n#### 3/4", "So it is 3/4.\n\n#### \\frac{3}{4}"),
        ("marker", "So it is $\\boxed{0.75}$.", "So it is $\\boxed{0.75}$.\n\n#### \\frac{3}{4}"),
        ("boxed", "So it is $\\boxed{0.75}$.", "So it is $\\boxed{0.75}$."),
        ("boxed", "#### 3/4", "\\boxed{\\frac{3}{4}}"),
        ("marker", "#### 4/3", None),
    ],
)
def test_a_trace_ends_in_the_form_asked_for(tmp_path, form, answer, expected):
    pytest.importorskip("math_verify", reason="needs math-verify: no mathematics is compared")
    row = {"messages": [
        {"role": "user", "content": "What is three quarters, as a fraction?"},
        {"role": "assistant", "content": f"<think>It is easy.</think>{answer}"},
    ], "gold": "\\frac{3}{4}"}  # fmt: skip
    good = {"prompt": "What is one and one?", "completion": "<think>1+1=2</think>#### 2"}
    found = standardized(
        tmp_path, source(tmp_path, "traces", [row], adapter="chat", answers="math", optional=True),
        source(tmp_path, "good", [good], adapter="prompt-completion"),
        test=source(tmp_path, "test", towns(5, 10), adapter="gsm8k", answers="text"), form=form,
    )  # fmt: skip
    kept = [one["messages"] for one in found["sft"] if one["source"] == "traces"]
    if expected is None:
        assert reasons(found, "traces") == {0: "contradicts-gold"} and not kept
        return
    assert kept[0][2]["content"] == f"<think>\nIt is easy.\n</think>\n\n{expected}"
    assert kept[0][0]["content"].endswith("#### <answer>" if form == "marker" else "\\boxed{<answer>}")


def test_a_system_prompt_of_the_users_own_is_in_every_row(tmp_path):
    own = "Answer in a word, after ####"
    found = standardized(
        tmp_path, source(tmp_path, "train", towns(0, 5), adapter="gsm8k", answers="text"),
        test=source(tmp_path, "test", towns(5, 10), adapter="gsm8k", answers="text"), system_prompt=own,
    )  # fmt: skip
    assert {row["system"] for split in ("problems", "gate", "evaluation") for row in found[split]} == {own}


def test_the_conversation_of_a_problem_is_held_to_the_kind_of_that_problem(tmp_path):
    """A trace of a source of numbers that asks a problem whose gold is a text."""
    asked = towns(0, 5)
    traces = [
        {"prompt": row["question"], "completion": f"<think>{row['solution']}</think>#### {said}"}
        for row, said in zip(asked, ["**rome.**", "Bern", "lima", "Bern", "cairo"], strict=True)
    ]
    found = standardized(
        tmp_path, source(tmp_path, "train", asked, adapter="gsm8k", answers="text"),
        source(tmp_path, "traces", traces, adapter="prompt-completion"),
        test=source(tmp_path, "test", towns(5, 10), adapter="gsm8k", answers="text"),
    )  # fmt: skip
    kept = {row["index"]: row["messages"][2]["content"].rpartition("\n")[2] for row in found["sft"]}
    refused = reasons(found, "traces")
    assert kept.items() <= {0: "#### Rome", 2: "#### Lima", 3: "#### Bern", 4: "#### Cairo"}.items()
    assert refused[1] == "contradicts-gold" and set(refused) | set(kept) == set(range(5))
    assert set(refused.values()) <= {"contradicts-gold", "held-out"}


def test_options_that_many_problems_share_are_no_contamination(tmp_path):
    """Thirteen words in common with an evaluation problem, but all of them options."""
    options = ["It is more than we can tell here", "It is less than we can tell there", "None of these at all"]
    rows = [{"question": f"How far is it to {town}?", "options": options, "correct": "B"} for town in TOWNS]
    found = standardized(
        tmp_path, source(tmp_path, "train", rows[:5], adapter="aqua"),
        test=source(tmp_path, "test", rows[5:], adapter="aqua"),
    )  # fmt: skip
    assert not found["rejects"] and len(found["evaluation"]) == 5
    bare = {"prompt": rows[7]["question"], "completion": "<think>It is far.</think>#### B"}
    good = {"prompt": "What is one and one?", "completion": "<think>1+1=2</think>#### 2"}
    found = standardized(
        tmp_path, source(tmp_path, "traces", [bare, good], adapter="prompt-completion"),
        test=source(tmp_path, "test", rows[5:], adapter="aqua"),
    )  # fmt: skip
    assert reasons(found, "traces") == {0: "overlap-exact"}
