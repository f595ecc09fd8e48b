"""What standardize makes of sound rows, and what it holds against each other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.lib.answers.parser import judge
from components.lib.data.normal import same
from components.lib.generation.prompts import system_prompt
from components.lib.recipe.schema import Source
from tests.fixtures.pages import check_page
from tests.fixtures.rows import FILES, good, kept, read, reasons, run, write

TRACE = "<think>\nHe counts 3 and 4.\n</think>\n\n"


def _source(folder: Path, rows: list[dict], adapter: str, name: str = "rows", **fields) -> Source:
    return Source(path=write(folder / f"{name}.jsonl", rows), name=name, adapter=adapter, **fields)


def _chat(question: str, assistant: str) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": assistant}]}


@pytest.mark.parametrize("adapter", ["chat", "thinking-solution", "prompt-completion", "gsm8k"])
def test_every_adapter_gives_the_one_normal_form(adapter: str, tmp_path: Path) -> None:
    found = run(tmp_path, _source(tmp_path, good(adapter, 5), adapter, use="sft", licence="mit"), overlap_words=60)

    assert [row["index"] for row in found["sft"]] == list(range(5))
    for row in found["sft"]:
        system, user, assistant = row["messages"]
        assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant"]
        assert system["content"] == system_prompt("marker", "number") and user["content"].endswith("?")
        assert assistant["content"].startswith("<think>\n") and "\n</think>\n\n#### " in assistant["content"]
        assert "<<" not in assistant["content"]
        assert list(row) == ["id", "messages", "gold", "answers", "source", "index", "revision", "licence", "hash"]
        assert row["licence"] == "mit" and row["revision"].startswith("sha256:") and len(row["hash"]) == 64


def test_problem_rows_have_gold_and_plain_solution(tmp_path: Path) -> None:
    row = {"question": " Cafe\u0301 sells 1,000+500 cups?\r\n", "answer": "1000+500=<<1000+500=1500>>1500\n#### 1,500"}
    found = run(tmp_path, _source(tmp_path, [row, *good("gsm8k", 5)], "gsm8k"))

    written = next(r for name in ("problems", "plateau", "gate") for r in found[name] if r["index"] == 0)
    assert written["question"] == "Caf\u00e9 sells 1,000+500 cups?"
    assert (written["gold"], written["solution"]) == ("1500", "1000+500=1500")
    assert set(written) == {
        "id", "question", "gold", "solution", "answers", "form", "system", "source", "index", "revision", "licence",
        "hash",
    }  # fmt: skip
    assert (written["answers"], written["form"]) == ("number", "marker")


def test_traces_of_known_problems_are_held_to_their_gold(tmp_path: Path) -> None:
    asked = "Tom has 3 cups and finds 4. How many?"
    reworded = "  tom  has 3 CUPS and finds 4 . how many ?"
    problems = [{"question": asked, "answer": "3+4=<<3+4=7>>7\n#### 7"}, *good("gsm8k", 5)]
    traces = [
        _chat(asked, TRACE + "#### 7"),
        _chat(reworded, TRACE + "The answer is 7."),
        _chat(asked, TRACE + "#### 8"),
        _chat(asked, TRACE + "The answer is 8."),
        _chat(asked, TRACE + "Who knows?"),
        _chat(asked, TRACE + "So it is **#### 7.0 cups**\nThat was easy."),
        _chat(asked, TRACE + "#### 6\n#### 7"),
        _chat("What is love?", TRACE + "Baby don't hurt me."),
    ]
    found = run(tmp_path, _source(tmp_path, problems, "gsm8k", "problems"), _source(tmp_path, traces, "chat"),
                plateau_share=0.0, gate_share=0.0)  # fmt: skip

    assert reasons(found, "rows") == {
        2: "contradicts-gold", 3: "contradicts-gold", 4: "no-answer", 6: "several-answers",
    }  # fmt: skip
    rows = {row["index"]: row for row in found["sft"]}
    assert {index: row["gold"] for index, row in rows.items()} == {0: "7", 1: "7", 5: "7", 7: None}
    for index in (0, 1, 5):
        assert rows[index]["messages"][2]["content"].endswith("\n#### 7")
        judged = judge(rows[index]["messages"][2]["content"], "7")
        assert judged.correct and judged.think_ok and judged.answer_marked
    assert rows[5]["messages"][2]["content"] == TRACE + "So it is\n\nThat was easy.\n\n#### 7"


def test_no_conversation_asks_a_held_out_question(tmp_path: Path) -> None:
    problems = good("gsm8k", 300)
    found = run(
        tmp_path, _source(tmp_path, problems, "gsm8k", "problems"),
        _source(tmp_path, problems, "gsm8k", "traces", use="sft"), plateau_share=0.2, gate_share=0.2, overlap_words=60,
    )  # fmt: skip
    sets = {
        name: {same(row["question"]) for row in found[name]} for name in ("problems", "plateau", "gate", "evaluation")
    }
    asked = {same(row["messages"][1]["content"]) for row in found["sft"]}

    assert len(sets["plateau"]) > 30 and len(sets["gate"]) > 30
    assert sum(map(len, sets.values())) == len(set.union(*sets.values()))
    assert asked and asked <= sets["problems"]
    assert set(reasons(found, "traces").values()) == {"held-out"}


def test_duplicates_and_near_duplicates_keep_the_first(tmp_path: Path) -> None:
    text = (
        "A farmer walks to the market with 12 baskets of ripe red apples and sells 7 of them before noon, while his "
        "daughter sells 3 more in the afternoon. How many baskets do they carry home?"
    )
    answers = {"answer": "12-7-3=2\n#### 2"}
    rows = [
        {"question": text, **answers},
        {"question": text.upper().replace(" ", "  "), **answers},
        {"question": text.replace("ripe red", "ripe"), **answers},
        {"question": text.replace("12 baskets", "13 baskets"), "answer": "13-7-3=3\n#### 3"},
        *good("gsm8k", 3),
    ]
    found = run(tmp_path / "near", _source(tmp_path, rows, "gsm8k"))
    exact = run(tmp_path / "exact", _source(tmp_path, rows, "gsm8k"), duplicate_similarity=1.0)

    assert reasons(found, "rows") == {1: "duplicate", 2: "near-duplicate"}
    assert {row["of"]["index"] for row in found["rejects"]} == {0}
    assert next(row["similarity"] for row in found["rejects"] if row["index"] == 2) >= 0.8
    assert reasons(exact, "rows") == {1: "duplicate"}


def test_another_trace_of_the_same_question_is_no_duplicate(tmp_path: Path) -> None:
    asked = "Tom has 3 cups and finds 4. How many?"
    traces = [
        _chat(asked, TRACE + "#### 7"),
        _chat(asked, "<think>\nThree and four more, that makes seven in total.\n</think>\n\n#### 7"),
        _chat(asked.lower(), TRACE.upper().replace("THINK", "think") + "####  7"),
    ]
    found = run(tmp_path, _source(tmp_path, traces, "chat"))

    assert kept(found, "rows") == {0, 1}
    assert reasons(found, "rows") == {2: "duplicate"}


def test_caps_and_weights(tmp_path: Path) -> None:
    rows = good("gsm8k", 400)
    capped = run(tmp_path / "cap", _source(tmp_path, rows, "gsm8k", cap=5), plateau_share=0.0, gate_share=0.0)
    half = run(tmp_path / "half", _source(tmp_path, rows, "gsm8k", weight=0.5), plateau_share=0.0, gate_share=0.0)
    more = run(tmp_path / "more", _source(tmp_path, rows, "gsm8k", weight=2.5), plateau_share=0.0, gate_share=0.1)

    assert len(capped["problems"]) == 5
    assert 150 < len(half["problems"]) < 250
    copies = len(more["problems"])
    once = len({row["id"].split("-")[0] for row in more["problems"]})
    assert 2.3 < copies / once < 2.7
    assert len({row["id"] for row in more["problems"]}) == copies
    assert len({row["id"] for row in more["gate"]}) == len(more["gate"])


def test_chat_rows_can_be_problems_if_their_answer_is_a_number(tmp_path: Path) -> None:
    rows = [
        _chat("How many is 3 and 4?", TRACE + "#### 7"),
        _chat("Who is Tom?", TRACE + "A farmer."),
        *good("chat", 3),
    ]
    found = run(tmp_path, _source(tmp_path, rows, "chat", use="problems"), plateau_share=0.0, gate_share=0.0)

    assert reasons(found, "rows") == {1: "no-gold"}
    assert (found["problems"][0]["gold"], found["problems"][0]["solution"]) == ("7", "He counts 3 and 4.")


def test_own_problem_files_are_read_again(tmp_path: Path) -> None:
    first = run(tmp_path / "1", _source(tmp_path, good("gsm8k", 20), "gsm8k"))
    second = run(tmp_path / "2", _source(tmp_path, first["problems"], "gsm8k", "again"))

    texts = [[(r["question"], r["gold"], r["solution"]) for r in found["problems"]] for found in (first, second)]
    assert texts[0] == texts[1] and not reasons(second, "again")


@pytest.mark.parametrize(
    ("rows", "adapter", "message"),
    [
        ([], "gsm8k", "source 'rows' holds no rows"),
        ([{"text": "a"}] * 3, "gsm8k", "source 'rows': no row fits the adapter 'gsm8k' (3 missing-field)"),
        ([{"question": "a", "answer": "#### 4"}], "chat", "no row fits the adapter 'chat'"),
        ([{"question": "a", "answer": "#### 4"}], "chat", 'it reads {"messages": '),
        ([{"question": "a", "answer": "#### 4"}], "chat", "the rows have question, answer; the adapter 'gsm8k' fits 1"),
        ([{"question": "How?", "answer": "#### many"}], "gsm8k", "no training problem is left"),
    ],
)
def test_a_source_that_gives_nothing_is_one_error(rows: list, adapter: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        run(tmp_path, _source(tmp_path, rows, adapter))

    assert message in str(error.value) and "\n" not in str(error.value)
    assert len(read(tmp_path / "out")["rejects"]) == len(rows)


def test_missing_and_wrong_sources_are_errors_before_anything_is_read(tmp_path: Path) -> None:
    sound = _source(tmp_path, good("gsm8k", 3), "gsm8k")
    for source, message in (
        (Source(path=str(tmp_path / "no.jsonl"), adapter="chat"), "does not exist"),
        (Source(path=str(tmp_path), adapter="chat"), "is a directory"),
        (Source(path=sound.path, name="rows", adapter="chat"), "two sources are called 'rows'"),
        (Source(path=sound.path, adapter="chat", revision="sha256:00"), "is not what the plan saw"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tmp_path / "run", sound, source)
    assert not (tmp_path / "run" / "out" / "sft.jsonl").exists()


def test_the_command_line(tmp_path: Path) -> None:
    problems, chat = good("gsm8k", 40), good("chat", 5)
    sources = [
        {"path": write(tmp_path / "train.jsonl", [*problems, {"question": "x"}]), "adapter": "gsm8k", "name": "train"},
        {"path": write(tmp_path / "chat.jsonl", chat), "adapter": "chat"},
    ]
    (tmp_path / "sources.json").write_text(json.dumps(sources))
    test = write(tmp_path / "test.jsonl", good("gsm8k", 5, seed=9))
    command = [sys.executable, "-m", "components.standardize", "--sources", str(tmp_path / "sources.json"),
               "--evaluation", test, "--output", str(tmp_path / "out")]  # fmt: skip

    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:1"}
    )

    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *(f"{name}.jsonl" for name in FILES), "summary.json", "summary.md", "summary.html",
    }  # fmt: skip
    found = read(tmp_path / "out")
    assert kept(found, "train") == set(range(40)) - set(reasons(found, "train"))
    assert reasons(found, "train")[40] == "missing-field"
    assert kept(found, "chat.jsonl")

    (tmp_path / "sources.json").write_text('[{"path": "a.jsonl", "adapter": "alpakka"}]')
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "source 0: adapter: 'alpakka' is not one of" in done.stderr


def test_the_summary_tells_where_every_row_went(tmp_path: Path) -> None:
    rows = [*good("gsm8k", 20), {"question": "<b>bold</b>?", "answer": "#### x"}]
    run(tmp_path, _source(tmp_path, rows, "gsm8k"), _source(tmp_path, good("chat", 5), "chat", "chat"))

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    page = (tmp_path / "out" / "summary.html").read_text()
    table = (tmp_path / "out" / "summary.md").read_text()
    assert summary["read"] == 31 == summary["kept"] + summary["rows"]["rejects"]
    assert summary["refused"]["bad-gold"] == 1
    for source in summary["sources"]:
        assert source["read"] == sum(source["kept"].values()) + sum(source["refused"].values())
    assert summary["lengths"]["conversations"]["limit"] == 4096
    check_page(page)
    assert "<h1>31 rows read, " in page and "\n31 rows were read: " in table
    assert "<code>bad-gold</code></td><td>1</td>" in page and "| bad-gold | 1 |" in table
    assert "&lt;b&gt;bold" in page and "<b>bold</b>" not in page and page.count('role="img"') == 4
