"""The trace from a run back to the rows of its sources."""

import pytest

from components.compare.rows import trace_rows
from components.lib.files import read_jsonl, write_jsonl
from components.lib.registry.store import open_store


def write_data(folder, problems, sft):
    """What standardize writes, of rows that are their numbers."""
    rows = {"problems": problems, "sft": sft, "plateau": [], "gate": [1000], "evaluation": [2000]}
    for place, numbers in rows.items():
        write_jsonl(
            folder / f"{place}.jsonl",
            [{"id": f"{n}", "source": place, "index": n, "hash": f"h{n}", "question": "?"} for n in numbers],
        )
    return folder


def test_every_training_row_is_named_and_the_new_ones_are_counted(tmp_path):
    store = open_store(str(tmp_path / "registry"))
    first = tmp_path / "first"
    # A row of weight 2 is there twice.
    numbers = trace_rows(write_data(tmp_path / "a", [1, 2, 3], [10, 10]), store, first)
    assert numbers == {"rows": 5.0, "new_rows": 5.0}
    rows = list(read_jsonl(first / "rows.jsonl"))
    assert rows[0] == {"place": "sft", "source": "sft", "index": 10, "hash": "h10"} and len(rows) == 6
    assert not any(row["index"] == 2000 for row in rows), "evaluation rows are no training rows"
    store.put_tree("runs/week-01/results", first)
    store.write_json("champion.json", {"run_id": "week-01"})
    second = trace_rows(write_data(tmp_path / "b", [1, 2, 3, 4, 5], [10, 11]), store, tmp_path / "second")
    assert second == {"rows": 8.0, "new_rows": 3.0}
    assert [path.name for path in (tmp_path / "second").iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("champion", [None, {"run_id": "gone"}])
def test_without_the_champions_rows_all_are_new(tmp_path, champion):
    store = open_store(str(tmp_path / "registry"))
    if champion:
        store.write_json("champion.json", champion)
    assert trace_rows(write_data(tmp_path / "a", [1], [2]), store, tmp_path / "out")["new_rows"] == 3.0
