"""Scoring JSON Lines files: what goes in comes out, with the verdicts; a bad line is named with what to do."""

import json
import subprocess
import sys

import pytest

from components.lib.answers.score import score_file, score_lines

ROWS = [
    {"id": 7, "completion": "<think>6 * 7</think>\n#### 42", "gold": "42", "nested": {"b": [1, 2.5, None], "a": "ü"}},
    {"gold": 0.5, "completion": "#### 1/2 \\text{ cup}"},
    {"completion": "6 * 7</think>\n#### 41", "gold": 42, "prefilled": True},
    {"completion": "no number", "gold": "#### 1,000", "correct": "old"},
]
VERDICTS = [
    {"correct": True, "think_ok": True, "answer_marked": True, "answer": "42"},
    {"correct": True, "think_ok": False, "answer_marked": True, "answer": "1/2"},
    {"correct": False, "think_ok": True, "answer_marked": True, "answer": "41"},
    {"correct": False, "think_ok": False, "answer_marked": False, "answer": None},
]


def _write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_all_fields_and_their_order_are_kept():
    scored = [json.loads(line) for line, _ in score_lines(map(json.dumps, ROWS), "in")]
    assert scored == [row | verdict for row, verdict in zip(ROWS, VERDICTS, strict=True)]
    assert [list(row)[: len(source)] for row, source in zip(scored, ROWS, strict=True)] == [list(row) for row in ROWS]


def test_a_file_is_scored_into_a_file(tmp_path, capsys):
    source, out = _write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    source.write_text("\ufeff" + source.read_text("utf-8") + "\n", encoding="utf-8")
    assert score_file(source, out) == 0
    assert [json.loads(line)["correct"] for line in out.read_text("utf-8").splitlines()] == [True, True, False, False]
    assert "ü" in out.read_text("utf-8")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"4 lines: correct 2 (50.0%), think_ok 2 (50.0%), answer_marked 3 (75.0%), unparsed 1 (25.0%) -> {out}\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_without_a_file_the_lines_go_to_standard_output(tmp_path, capsys):
    assert score_file(_write(tmp_path / "in.jsonl", ROWS), None) == 0
    shown = capsys.readouterr()
    assert [json.loads(line)["answer"] for line in shown.out.splitlines()] == ["42", "1/2", "41", None]
    assert shown.err.endswith("-> standard output\n")


def test_an_empty_file_gives_an_empty_file(tmp_path, capsys):
    assert score_file(_write(tmp_path / "in.jsonl", []), tmp_path / "out.jsonl") == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b"" and capsys.readouterr().err.startswith(
        "0 lines: correct 0 (0.0%)"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"in:3: { is not JSON \(.*\); write one JSON object per line"),
        ("[" * 100_000, r"in:3: \[+\.\.\. is not JSON"),
        ('{"completion": "", "gold": ' + "9" * 5000 + "}", "in:3: .* is not JSON"),
        ("[1]", r"in:3: \[1\] is not a JSON object; write"),
        ('{"gold": "1"}', "in:3: field 'completion' is missing; found gold; add it"),
        ('{"completion": "#### 1"}', "in:3: field 'gold' is missing; found completion; add it"),
        ('{"completion": null, "gold": "1"}', "in:3: completion None is not a string; give the generated text"),
        ('{"completion": "", "gold": true}', "in:3: gold True is not a string or a number; write it like"),
        ('{"completion": "", "gold": ["1"]}', r"in:3: gold \['1'\] is not a string or a number"),
        ('{"completion": "", "gold": NaN}', "in:3: gold 'nan' is not one number; write it like"),
        ('{"completion": "", "gold": "3 or 4"}', "in:3: gold '3 or 4' is not one number; write it like '42'"),
        ('{"completion": "", "gold": 1, "prefilled": "yes"}', "in:3: prefilled 'yes' is not true or false"),
    ],
)
def test_a_bad_line_is_named_with_what_to_do(line, message):
    good = json.dumps(ROWS[0])
    with pytest.raises(ValueError, match=message):
        list(score_lines([good, "\n", line, good], source="in"))


def test_nothing_is_left_behind_by_a_bad_line(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(json.dumps(ROWS[0]).encode() + b"\n\xff\n")
    out.write_text("before")
    with pytest.raises(ValueError, match=r"in\.jsonl:2: not UTF-8 .*; save the file as UTF-8"):
        score_file(source, out)
    assert out.read_text() == "before" and len(list(tmp_path.iterdir())) == 2


def test_lone_surrogates_survive(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"completion": "\\ud800 #### 42", "gold": 42}\n')
    score_file(source, out)
    assert json.loads(out.read_text("utf-8"))["completion"] == "\ud800 #### 42"


def test_scoring_needs_no_heavy_package():
    heavy = "torch transformers trl datasets numpy kfp".split()
    code = f"import sys, components.lib.answers.score; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
