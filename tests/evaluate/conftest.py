"""What the tests of evaluate share."""

import pytest

from components.lib.files import write_jsonl
from tests.evaluate.runs import problem, trace


@pytest.fixture
def data(tmp_path):
    """A standardized data set: 10 evaluation, 6 gate and 12 training problems, 24 traces of which 12 have reasoning."""
    for split, count in (("evaluation", 10), ("gate", 6), ("problems", 12)):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", [problem(k, split) for k in range(count)])
    rows = [problem(k, "problems") for k in range(12)]
    thought = [trace(row, f"Reasoned: {row['solution']}", row["gold"]) for row in rows]
    write_jsonl(tmp_path / "data" / "sft.jsonl", [*thought, *(trace(row, "", row["gold"]) for row in rows)])
    return tmp_path / "data"
