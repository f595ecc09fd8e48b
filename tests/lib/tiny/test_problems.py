"""The demo's problems: right, unique, reproducible, and never shared between training and evaluation."""

import re
from random import Random

import pytest

from components.lib.tiny.problems import DIGITS, ROWS, is_evaluation, problems, rows
from components.lib.tiny.problems import TEXT as TEXT_LEVEL

TRAINING = ("chat", "thinking-solution", "prompt-completion", "problems")
SFT = TRAINING[:3]
TEXT = ("text-traces", "text-problems")


def question(schema, row):
    if schema == "chat":
        return row["messages"][1]["content"]
    names = {"thinking-solution": "problem", "prompt-completion": "prompt", "text-traces": "prompt"}
    return row[names.get(schema, "question")]


def trace(schema, row):
    """The reasoning and the answer of a row of an SFT source."""
    if schema == "thinking-solution":
        return row["thinking"], row["solution"]
    tag, text = ("thought", row["messages"][2]["content"]) if schema == "chat" else ("think", row["completion"])
    return re.fullmatch(rf"<{tag}>\n(.+)\n</{tag}>\n\n(.+)", text, re.DOTALL).groups()


def total(question):
    """The answer, read from the story alone."""
    gains, losses = re.compile(r"finds|buys|wins|gets"), re.compile(r"gives away|loses|sells|throws out")
    first, *sentences = question.split(". ")[:-1]
    value = int(re.search(r"\d+", first)[0])
    for sentence in sentences:
        assert bool(gains.search(sentence)) != bool(losses.search(sentence))
        value += int(re.search(r"\d+", sentence)[0]) * (1 if gains.search(sentence) else -1)
    return str(value)


@pytest.mark.parametrize("schema", ROWS)
def test_rows_are_reproducible_unique_and_as_many_as_promised(schema):
    first, again, other = (list(rows(schema, seed)) for seed in (3, 3, 4))
    assert first == again and first != other
    assert len({question(schema, row) for row in first}) == len(first) == ROWS[schema]


@pytest.mark.parametrize("schema", [*SFT, "text-traces"])
def test_every_trace_reasons_rightly_and_ends_with_the_marked_answer(schema):
    whole = 0
    for row in rows(schema, 0):
        reasoning, answer = trace(schema, row)
        assert answer == f"#### {total(question(schema, row))}"
        whole += reasoning == f"At once: {total(question(schema, row))}"
        if not reasoning.startswith("At once: "):
            for line in reasoning.split("\n"):
                left, right = line.split("=")
                assert sum(map(int, re.findall(r"[+-]?\d+", left))) == int(right)
            assert reasoning.endswith(f"={total(question(schema, row))}")
    assert whole == 0 if schema == "text-traces" else 0.5 < whole / ROWS[schema] < 0.7


@pytest.mark.parametrize("schema", ["problems", "evaluation", "text-problems", "text-evaluation"])
def test_problems_are_in_the_form_of_gsm8k(schema):
    steps = (1, 2, 3) if schema.startswith("text-") else (3, 4)
    for row in rows(schema, 0):
        lines = row["answer"].split("\n")
        assert lines.pop() == f"#### {total(row['question'])}"
        assert all(re.fullmatch(r"(\d+[+-]\d+)=<<\1=(\d+)>>\2", line) for line in lines) and len(lines) in steps


@pytest.mark.parametrize(("evaluation", "training"), [("evaluation", TRAINING), ("text-evaluation", TEXT)])
def test_no_evaluation_question_is_in_training_for_any_seed(evaluation, training):
    asked = {row["question"] for seed in range(3) for row in rows(evaluation, seed)}
    trained = {question(schema, row) for seed in range(3) for schema in training for row in rows(schema, seed)}
    assert not asked & trained


def test_no_evaluation_sum_is_in_training_under_other_names():
    for level in (DIGITS, TEXT_LEVEL):
        sums = [{p.sum for p in problems(Random(1), 2000, evaluation=part, level=level)} for part in (True, False)]
        assert not sums[0] & sums[1]
    assert all(is_evaluation(p) for p in problems(Random(2), 50, evaluation=True))


def test_an_unknown_schema_names_the_valid_ones():
    with pytest.raises(ValueError, match="no tiny schema 'poems'; valid ones: chat, thinking-solution"):
        next(rows("poems", 0))
