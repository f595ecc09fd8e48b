"""What the first rows of a source say of it, where the recipe says nothing."""

import json
from pathlib import Path

import pytest

from components.lib.data.adapters import ADAPTERS
from components.lib.data.detect import ROWS, UNKNOWN, fitting, resolved
from components.lib.recipe.schema import Source
from tests.fixtures.rows import good, write
from tests.fixtures.tasks import TASKS, needs_tasks
from tests.lib.data.formats import ALPACA, ASKED, BLOCK, FORMATS, SAID, SHAREGPT, THOUGHT


def found(folder: Path, rows: list[dict], evaluation: bool = False, **fields):
    return resolved(Source(path=write(folder / "rows.jsonl", rows), **fields), 0, evaluation=evaluation)


@pytest.mark.parametrize("adapter", ["chat", "thinking-solution", "gsm8k", "prompt-completion"])
def test_the_schemas_that_were_there_before_are_told_apart(tmp_path: Path, adapter: str) -> None:
    source, seen = found(tmp_path, good(adapter, 20))
    assert (source.adapter, source.use, source.answers) == (
        adapter,
        "problems" if adapter == "gsm8k" else "sft",
        "number",
    )
    assert seen.schemas == {adapter: 20}
    with_gold = [row | {"gold": "7"} for row in good(adapter, 20)] if adapter != "gsm8k" else good(adapter, 20)
    assert found(tmp_path, with_gold)[0].use == source.use


def test_most_rows_decide_and_never_the_first(tmp_path: Path) -> None:
    rows = [*[row for row, _ in ALPACA[:3]], {"x": 1}, *[row for row, _ in SHAREGPT[:1] * 5]]
    source, seen = found(tmp_path, rows)
    assert source.adapter == "sharegpt" and source.use == "sft"
    assert seen.schemas == {"sharegpt": 5, "alpaca": 3, UNKNOWN: 1}
    assert "5 sharegpt, 3 alpaca, 1 no known schema" in seen.told(source)


def test_of_as_many_rows_each_the_order_of_the_file_does_not_decide(tmp_path: Path) -> None:
    rows = [row for row, _ in (ALPACA[0], SHAREGPT[0])]
    assert {found(tmp_path, mixed)[0].adapter for mixed in (rows * 2, rows[::-1] * 2)} == {"sharegpt"}
    assert found(tmp_path, [])[0].adapter == "problem"


def test_no_more_than_the_first_thousand_rows_decide(tmp_path: Path) -> None:
    rows = [{"question": ASKED, "gold": n} for n in range(ROWS)] + [row for row, _ in SHAREGPT[:1]] * 2 * ROWS
    source, seen = found(tmp_path, rows)
    assert source.adapter == "problem" and seen.rows == ROWS


@pytest.mark.parametrize(
    ("row", "use", "answers"),
    [
        ({"question": ASKED, "gold": "7"}, "problems", "number"),
        ({"question": ASKED, "gold": "\\frac{x}{2}"}, "problems", "math"),
        ({"question": ASKED, "gold": "Paris"}, "problems", "text"),
        ({"question": ASKED, "gold": "B", "options": ["6", "7"]}, "problems", "choice"),
        ({"question": ASKED, "reasoning": THOUGHT, "gold": "7"}, "both", "number"),
        ({"question": ASKED, "reasoning": THOUGHT, "answer": SAID}, "sft", "number"),
        ({"instruction": ASKED, "output": "7"}, "problems", "number"),
        ({"instruction": ASKED, "output": "new york"}, "problems", "text"),
        ({"instruction": ASKED, "output": BLOCK + "#### 7"}, "both", "number"),
        ({"query": ASKED, "response": "The answer is: x+2"}, "problems", "math"),
        ({"instruction": ASKED, "reasoning": THOUGHT, "response": SAID}, "sft", "number"),
        ({"instruction": ASKED, "reasoning": THOUGHT, "response": "\\boxed{x^2}"}, "sft", "math"),
        ({"problem": ASKED, "answer": "7"}, "problems", "math"),
        ({"question": ASKED, "options": ["A)6", "B)7"], "rationale": "", "correct": "B"}, "problems", "choice"),
    ],
)
def test_use_and_answers_follow_from_the_rows(tmp_path: Path, row: dict, use: str, answers: str) -> None:
    source, _ = found(tmp_path, [row] * 3)
    assert (source.use, source.answers) == (use, answers)
    assert found(tmp_path, [row] * 3, evaluation=True)[0].use == "problems"
    own, _ = found(tmp_path, [row] * 3, use="sft", answers="text")
    assert (own.use, own.answers, own.adapter) == ("sft", "text", source.adapter)


def test_nine_golds_of_ten_decide_the_kind(tmp_path: Path) -> None:
    numbers = [{"question": ASKED, "gold": str(n)} for n in range(9)]
    assert found(tmp_path, [*numbers, {"question": ASKED, "gold": "x+1"}])[0].answers == "number"
    assert found(tmp_path, [*numbers, *[{"question": ASKED, "gold": "x+1"}] * 2])[0].answers == "math"
    assert found(tmp_path, [*numbers, *[{"question": ASKED, "gold": "Paris"}] * 3])[0].answers == "text"


def test_what_nobody_knows_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none of the first 3 rows has a schema .* a, b; .*fields: \{question"):
        found(tmp_path, [{"a": 1, "b": 2}] * 3)
    with pytest.raises(ValueError, match="known are question and gold, .* messages, or conversations"):
        found(tmp_path, [{"a": 1, "b": 2}] * 3)
    assert found(tmp_path, [{"a": 1}], optional=True)[0].adapter == "problem"
    assert found(tmp_path, [{"question": ASKED, "tests": "1"}], answers="python:own.py")[0].adapter == "problem"


@pytest.mark.parametrize("adapter", ["chat", "thinking-solution", "prompt-completion"])
def test_golds_beside_conversations_decide_their_kind_where_most_rows_have_one(tmp_path: Path, adapter: str) -> None:
    without = [{name: value for name, value in row.items() if name != "gold"} for row in good(adapter, 17)]
    towns = [row | {"answer": "New York"} for row in without[:8]]
    assert found(tmp_path, towns)[0].answers == "text"
    assert found(tmp_path, [*towns, *without[8:]])[0].answers == "number"
    assert found(tmp_path, towns, answers="math")[0].answers == "math"


FITTING = [  # adapter, rows, what is said of the fields wanted and found, and of the adapter that fits
    ("gsm8k", [{"text": "a", "n": 1}], '{"question", "answer"}', "text, n", "no adapter knows them; say which field"),
    ("chat", [{"question": "a", "answer": "#### 4"}] * 2, '{"messages": [', "question, ans", "adapter 'gsm8k' fits 2"),
    ("gsm8k", [SHAREGPT[0][0], SHAREGPT[0][0], {"x": 1}], '{"question", "answer"}', "id, con", "'sharegpt' fits 2 of"),
    ("chat", [{"messages": []}], '{"messages": [', "messages", "their fields are those, but not what they hold"),
    ("alpaca", [], '{"instruction", "input", "output"}', "", "none of the first 1,000 is an object with fields"),
]


@pytest.mark.parametrize(("adapter", "rows", "wanted", "has", "advice"), FITTING)
def test_what_no_row_fits_is_told_with_what_would_fit(tmp_path: Path, adapter, rows, wanted, has, advice) -> None:
    text = fitting(Source(path=write(tmp_path / "rows.jsonl", rows), adapter=adapter), 0)
    assert text.startswith(f"it reads {wanted}") and advice in text and (not has or f"the rows have {has}" in text)


def test_every_adapter_begins_with_the_fields_that_it_reads() -> None:
    for adapter in ADAPTERS.values():
        first = str(adapter.__doc__).splitlines()[0]
        assert first.startswith("{") or "`messages`" in first, first


def test_what_the_golds_decide_is_said_too(tmp_path: Path) -> None:
    source, seen = found(tmp_path, [{"instruction": ASKED, "output": "new york"}] * 2, adapter="alpaca")
    assert seen.told(source) == "the first 2 rows: read as alpaca, for problems, answers of the kind text"


def test_a_source_that_says_all_is_not_read() -> None:
    source = Source(path="there/is/none.jsonl", adapter="chat", use="sft", answers="math")
    assert resolved(source, 0)[0] == source


@needs_tasks
@pytest.mark.parametrize(
    ("name", "adapter", "answers"),
    [("math500", "math", "math"), ("aqua_dev", "aqua", "choice"), ("aqua_test", "aqua", "choice")],
)
def test_the_real_files(name: str, adapter: str, answers: str) -> None:
    source, seen = resolved(Source(path=str(TASKS / f"{name}.jsonl")), 0)
    rows = len((TASKS / f"{name}.jsonl").read_text().splitlines())
    assert (source.adapter, source.use, source.answers) == (adapter, "problems", answers)
    assert seen.schemas == {adapter: rows}


def test_each_format_is_found_among_its_unsound_rows(tmp_path: Path) -> None:
    for adapter, cases in FORMATS.values():
        source, _ = found(tmp_path, [json.loads(json.dumps(row)) for row, _ in cases])
        assert source.adapter == adapter
