"""Every place and format a source can have gives the same rows, and a damaged file is told from damaged rows."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest

from components.lib.data.readers import read_records
from components.lib.recipe import recipes
from components.lib.recipe.paths import kind_of
from components.lib.recipe.schema import Source
from tests.fixtures.rows import good, reasons, run

PROBLEMS = good("gsm8k", 12)


def _jsonl(rows: list[dict]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _csv(rows: list[dict]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[dict]) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow: Parquet is not read")
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), out, row_group_size=5)
    return out.getvalue()


FORMATS = {
    "a.jsonl": _jsonl, "a.ndjson": _jsonl, "lines.json": _jsonl, "a.csv": _csv, "a.parquet": _parquet,
    "a.json": lambda rows: json.dumps(rows).encode(),
    "indented.json": lambda rows: b"\xef\xbb\xbf" + json.dumps(rows, indent=2).encode(),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_records(name: str, zipped: bool, tmp_path: Path) -> None:
    data = FORMATS[name](PROBLEMS)
    path = tmp_path / (name + ".gz" * zipped)
    path.write_bytes(gzip.compress(data) if zipped else data)

    records = list(read_records(path, path.name))

    assert [record.index for record in records] == list(range(12))
    assert [record.row for record in records] == PROBLEMS


def _records(path: Path, data: bytes) -> list[tuple[int, str | None]]:
    path.write_bytes(data)
    return [(r.index, r.refused.reason if r.refused else None) for r in read_records(path, path.name)]


def test_damaged_elements_of_a_json_array_are_one_reject_each(tmp_path: Path) -> None:
    data = b'[{"q": "a"}, {"q": "\xff"}, {"q": NaN}, 3, {"q": 1, "q": 2}, {"q": "\x01"}, {"q": "b"}]'
    assert _records(tmp_path / "a.json", data) == [
        (0, None), (1, "not-utf8"), (2, "not-json"), (3, "not-an-object"), (4, "duplicate-key"), (5, "not-json"),
        (6, None),
    ]  # fmt: skip
    assert _records(tmp_path / "a.json", b"[ ]") == []
    for broken in (b'[{"q": "a"}, {"q": ', b'[{"q": "a"} {"q": "b"}]', b'[{"q": "a"},, {"q": "b"}]'):
        with pytest.raises(ValueError, match="JSON"):
            _records(tmp_path / "a.json", broken)


INSIDE = [  # an object that is a whole file, and the key of the list of rows in it
    ({"data": PROBLEMS}, "data"), ({"version": "1.1", "fields": ["q", "a"], "rows": PROBLEMS}, "rows"),
    ({"meta": {"data": [{"a": 1}]}, "train rows": PROBLEMS[:1], "test": PROBLEMS}, "train rows"),
    ({"data": [None, *PROBLEMS]}, "data"),
]  # fmt: skip
ROWS = [  # objects that are rows themselves
    PROBLEMS[0], good("chat", 1)[0], {"conversations": [{"from": "human", "value": "x"}]}, {"data": PROBLEMS[0]},
    {"options": ["A", "B"], "n": []}, {},
]  # fmt: skip


@pytest.mark.parametrize(("value", "key"), INSIDE)
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_one_object_with_the_rows_inside_says_so(name: str, value: dict, key: str, tmp_path: Path) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=1), f"\ufeff\n {json.dumps(value)}\n\n"):
        data = text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        with pytest.raises(ValueError, match=f"one JSON object, and its rows are the list under '{key}'.*`jq") as error:
            run(tmp_path, Source(path=str(tmp_path / name), name="a", adapter="gsm8k"))
        assert "source 'a'" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("row", ROWS)
def test_one_object_that_is_a_row_is_one(row: dict, tmp_path: Path) -> None:
    assert _records(tmp_path / "a.json", json.dumps(row).encode()) == [(0, None)]
    if row:
        with pytest.raises(ValueError, match="its objects are written over several lines; .*`jq -c"):
            _records(tmp_path / "a.json", b"\n".join([json.dumps(row, indent=2).encode()] * 2))


def test_objects_on_lines_of_their_own_are_rows(tmp_path: Path) -> None:
    rows = [{"data": PROBLEMS[:2]}, {"data": []}, {"steps": [{"x": 1}]}]
    (tmp_path / "a.json").write_bytes(_jsonl(rows))
    assert [record.row for record in read_records(tmp_path / "a.json", "a.json")] == rows
    (tmp_path / "a.json").write_bytes(b'{"q": "cut\n' + _jsonl(rows))
    sound = [record.refused is None for record in read_records(tmp_path / "a.json", "a.json")]
    assert sound == [False, True, True, True]


def test_an_array_longer_than_one_read_is_whole(tmp_path: Path) -> None:
    rows = [{"number": n, "text": "é" * 2000} for n in range(1500)]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False))
    assert [record.row for record in read_records(tmp_path / "a.json", "a.json")] == rows


def test_damaged_records_of_csv_are_one_reject_each(tmp_path: Path) -> None:
    data = (
        b'\xef\xbb\xbfquestion,answer\r\n"two\nlines, one record",a\r\n'
        b'only one\r\na,b,c\r\n\xff,b\r\n\r\n"open"x,b\r\nlast,row\r\n'
    )
    assert _records(tmp_path / "a.csv", data) == [
        (0, None), (1, "wrong-columns"), (2, "wrong-columns"), (3, "not-utf8"), (4, "empty-line"), (5, "not-csv"),
        (6, None),
    ]  # fmt: skip
    rows = [record.row for record in read_records(tmp_path / "a.csv", "a.csv")]
    assert rows[0] == {"question": "two\nlines, one record", "answer": "a"} and rows[1] == "only one"
    with pytest.raises(ValueError, match="column twice"):
        _records(tmp_path / "a.csv", b"a,a\n1,2\n")


def test_parquet_with_bytes_that_are_no_text(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow: Parquet is not read")
    from pyarrow import parquet

    words = pyarrow.array([b"good", b"b\xffd", b"fine"], pyarrow.binary())
    texts = pyarrow.Array.from_buffers(pyarrow.string(), 3, words.buffers())
    parquet.write_table(pyarrow.table({"q": texts}), tmp_path / "a.parquet")
    records = list(read_records(tmp_path / "a.parquet", "a.parquet"))
    assert [r.refused.reason if r.refused else r.row["q"] for r in records] == ["good", "not-utf8", "fine"]


def test_a_file_that_is_damaged_as_a_whole_is_one_error(tmp_path: Path) -> None:
    whole = gzip.compress(_jsonl(PROBLEMS * 50))
    for name, data, message in (
        ("cut.jsonl.gz", whole[:-20], "is damaged"),
        ("flipped.jsonl.gz", whole[:40] + bytes([whole[40] ^ 255]) + whole[41:], "is damaged"),
        ("a.parquet", b"PAR1 no", "Parquet"),
        ("a.txt", b"x", "is none of .jsonl"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=message):
            list(read_records(tmp_path / name, name))


def test_a_line_without_end_is_one_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.lib.data.readers.LONGEST_LINE", 1000)
    (tmp_path / "a.jsonl").write_bytes(b'{"q": "a"}\n{"q": "' + b"x" * 5500 + b'"}\n{"q": "b"}\n')
    records = list(read_records(tmp_path / "a.jsonl", "a.jsonl"))
    assert [r.refused.reason if r.refused else r.row["q"] for r in records] == ["a", "line-too-long", "b"]


def test_a_csv_of_chats_holds_its_messages_as_json(tmp_path: Path) -> None:
    rows = [{"messages": json.dumps(row["messages"])} for row in good("chat", 3)]
    (tmp_path / "a.csv").write_bytes(_csv(rows))
    found = run(tmp_path, Source(path=str(tmp_path / "a.csv"), name="a", adapter="chat"))
    assert len(found["sft"]) == 3 and not reasons(found, "a")


def test_rows_that_json_cannot_write_are_refused_as_text(tmp_path: Path) -> None:
    rows = [dict(row, extra=float("nan")) for row in PROBLEMS]
    rows[3]["answer"] = "none"
    (tmp_path / "a.parquet").write_bytes(_parquet(rows))
    found = run(tmp_path, Source(path=str(tmp_path / "a.parquet"), name="a", adapter="gsm8k"))
    assert reasons(found, "a") == {3: "no-answer"} and "nan" in found["rejects"][0]["row"]


def test_where_a_path_leads(tmp_path: Path) -> None:
    for recipe in recipes.RECIPES.values():
        for source in (*recipe.sources, *recipe.evaluation):
            assert kind_of(source.path) == ("tiny" if recipe.name in ("tiny", "smollm2-135m") else "hub"), source.path
    kinds = {
        "data/train.jsonl": "file",
        "train.csv.gz": "file",
        "./x/y": "file",
        "/x/y": "file",
        "s3://b/k": "s3",
        "word": "file",
    }
    assert {path: kind_of(path) for path in kinds} == kinds
