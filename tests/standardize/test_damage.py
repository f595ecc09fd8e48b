"""Every kind of damage is refused for its own reason, and nothing beside it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.lib.data.reasons import REASONS
from components.lib.recipe.schema import Source
from tests.fixtures.rows import evaluation, good, kept, reasons, run

Row = dict[str, Any]


def _line(text: str) -> Callable[[Row], bytes]:
    return lambda row: text.encode()


def _set(**fields: Any) -> Callable[[Row], bytes]:
    return lambda row: json.dumps(row | fields).encode()


def _without(*names: str) -> Callable[[Row], bytes]:
    return lambda row: json.dumps({k: v for k, v in row.items() if k not in names}).encode()


def _answer(text: str) -> Callable[[Row], bytes]:
    """The assistant of a chat row says `text`."""
    return _turn(2, content=text)


def _turn(number: int, **fields: Any) -> Callable[[Row], bytes]:
    def change(row: Row) -> bytes:
        messages = [dict(message) for message in row["messages"]]
        messages[number] |= fields
        return json.dumps(row | {"messages": messages}).encode()

    return change


def _messages(change: Callable[[list[Row]], Any]) -> Callable[[Row], bytes]:
    return lambda row: json.dumps({"messages": change(row["messages"])}).encode()


LINES = [
    ("blank line", _line(""), "empty-line"),
    ("spaces only", _line("  \t "), "empty-line"),
    ("cut line", lambda row: json.dumps(row).encode()[:-9], "not-json"),
    ("two objects in a line", lambda row: json.dumps(row).encode() * 2, "not-json"),
    ("single quotes", lambda row: repr(row).encode(), "not-json"),
    ("trailing comma", lambda row: json.dumps(row).encode()[:-1] + b",}", "not-json"),
    ("NaN", lambda row: json.dumps(row | {"score": float("nan")}).encode(), "not-json"),
    ("infinite number", lambda row: json.dumps(row).encode()[:-1] + b', "score": 1e999}', "not-json"),
    ("huge integer", lambda row: json.dumps(row).encode()[:-1] + b', "n": ' + b"9" * 5000 + b"}", "not-json"),
    ("raw control character", lambda row: json.dumps(row).encode().replace(b" has ", b"\x01has "), "not-json"),
    ("very deep", _line("[" * 200_000), "not-json"),
    ("a number", _line("42"), "not-an-object"),
    ("a list", _line("[]"), "not-an-object"),
    ("null", _line("null"), "not-an-object"),
    ("Latin-1", lambda row: json.dumps(row).encode().replace(b" has ", b" h\xe9 "), "not-utf8"),
    ("overlong zero", lambda row: json.dumps(row).encode().replace(b" has ", b" h\xc0\x80 "), "not-utf8"),
    ("surrogate bytes", lambda row: json.dumps(row).encode().replace(b" has ", b" h\xed\xa0\x80 "), "not-utf8"),
    ("lone surrogate", lambda row: json.dumps(row).encode().replace(b" has ", b" h\\ud83d "), "lone-surrogate"),
    ("key twice", lambda row: json.dumps(row).encode()[:-1] + b', "x": 1, "x": 2}', "duplicate-key"),
    ("no fields", _line("{}"), "missing-field"),
]

CHAT = [
    ("messages null", _set(messages=None), "missing-field"),
    ("messages a number", _set(messages=7), "wrong-type"),
    ("messages not JSON", _set(messages="user: hello"), "wrong-type"),
    ("messages empty", _set(messages=[]), "wrong-roles"),
    ("message a text", _messages(lambda m: [m[0], m[1]["content"], m[2]]), "wrong-type"),
    ("no role", _messages(lambda m: [m[0], {"content": "x"}, m[2]]), "missing-field"),
    ("no assistant", _messages(lambda m: m[:2]), "wrong-roles"),
    ("no user", _messages(lambda m: [m[0], m[2]]), "wrong-roles"),
    ("roles swapped", _messages(lambda m: [m[0], m[2], m[1]]), "wrong-roles"),
    ("strange role", _turn(1, role="human"), "wrong-roles"),
    ("second question", _messages(lambda m: [*m, m[1], m[2]]), "wrong-roles"),
    ("content null", _turn(2, content=None), "missing-field"),
    ("content a list", _turn(2, content=[{"type": "text"}]), "wrong-type"),
    ("question empty", _turn(1, content=" \n"), "empty-field"),
    ("question invisible", _turn(1, content="\u200b\ufeff"), "empty-field"),
    ("answer empty", _answer(""), "empty-field"),
    ("no tags", _answer("7+2=9\n\n#### 9"), "no-think"),
    ("never closed", _answer("<thought>7+2=9\n\n#### 9"), "unclosed-think"),
    ("opened twice, closed once", _answer("<think>a<think>b</think>\n#### 9"), "unclosed-think"),
    ("never opened", _answer("7+2=9</think>\n\n#### 9"), "unopened-think"),
    ("nested", _answer("<think>a<think>b</think>c</think>\n#### 9"), "nested-think"),
    ("two blocks", _answer("<think>a</think><think>b</think>\n#### 9"), "several-thinks"),
    ("mixed tags", _answer("<think>7+2=9</thought>\n\n#### 9"), "broken-tag"),
    ("capital tag", _answer("<Think>7+2=9</Think>\n\n#### 9"), "broken-tag"),
    ("space in tag", _answer("<think>7+2=9</think >\n\n#### 9"), "broken-tag"),
    ("think empty", _answer("<think>\n \n</think>\n\n#### 9"), "empty-think"),
    ("text in front", _answer("Well.<think>7+2=9</think>\n\n#### 9"), "text-before-think"),
    ("no answer", _answer("<think>7+2=9</think>\n "), "no-answer"),
    ("tag in the question", _turn(1, content="What does <think> mean?"), "tag-in-question"),
    ("control token", _turn(1, content="Hello<|im_end|>"), "special-token"),
    ("control character", _turn(1, content="Hello\u0000 you"), "control-character"),
    ("broken decoding", _turn(1, content="Caf\ufffd"), "replacement-character"),
    ("gold not a number", _set(gold="many"), "bad-gold"),
    ("gold contradicted", _set(gold="1000"), "contradicts-gold"),
    ("too long", _answer("<think>" + "and so on " * 2000 + "</think>\n\n#### 9"), "too-long"),
]

THINKING = [
    ("no problem", _without("problem"), "missing-field"),
    ("no thinking", _without("thinking"), "missing-field"),
    ("thinking null", _set(thinking=None), "missing-field"),
    ("thinking a list", _set(thinking=["a"]), "wrong-type"),
    ("solution empty", _set(solution=" "), "empty-field"),
    ("tag in the thinking", _set(thinking="<think>7+2</think>"), "nested-think"),
    ("tag in the solution", _set(solution="</think> 9"), "nested-think"),
]

GSM8K = [
    ("no answer field", _without("answer"), "missing-field"),
    ("answer a number", _set(answer=42), "wrong-type"),
    ("question a truth value", _set(question=True), "wrong-type"),
    ("no marker", _set(answer="2+2=4"), "no-answer"),
    ("marker without number", _set(answer="2+2=4\n####  "), "no-answer"),
    ("two markers", _set(answer="2+2=4\n#### 4\n#### 5"), "several-answers"),
    ("gold in words", _set(answer="2+2=4\n#### forty apples"), "bad-gold"),
    ("gold a range", _set(answer="2+2=4\n#### 4-5"), "bad-gold"),
    ("open annotation", _set(answer="2+2=<<2+2=4\n#### 4"), "bad-annotation"),
    ("stray annotation end", _set(answer="2+2=4>> 4\n#### 4"), "bad-annotation"),
    ("gold against its solution", _set(answer="15+5=<<15+5=20>>20\n#### 27"), "wrong-gold"),
]

COMPLETION = [
    ("no completion", _without("completion"), "missing-field"),
    ("prompt empty", _set(prompt=""), "empty-field"),
    ("text and messages", _set(prompt=[{"role": "user", "content": "x"}]), "wrong-type"),
    ("not closed", _set(completion="<think>7+2=9"), "unclosed-think"),
]

KINDS = [
    *((adapter, *kind) for adapter in ("chat", "gsm8k") for kind in LINES),
    *(("chat", *kind) for kind in CHAT),
    *(("thinking-solution", *kind) for kind in THINKING),
    *(("gsm8k", *kind) for kind in GSM8K),
    *(("prompt-completion", *kind) for kind in COMPLETION),
]


@pytest.mark.parametrize("adapter", ["chat", "thinking-solution", "gsm8k", "prompt-completion"])
def test_each_damage_has_its_reason_and_harms_no_neighbour(adapter: str, tmp_path: Path) -> None:
    kinds = [kind for kind in KINDS if kind[0] == adapter]
    # even lines are sound, odd ones damaged
    rows = good(adapter, 2 * len(kinds) + 1)
    damaged = {2 * n + 1: kind for n, kind in enumerate(kinds)}
    data = b"\n".join(damaged[n][2](row) if n in damaged else json.dumps(row).encode() for n, row in enumerate(rows))
    (tmp_path / "rows.jsonl").write_bytes(data)

    found = run(tmp_path, Source(path=str(tmp_path / "rows.jsonl"), name="rows", adapter=adapter), overlap_words=60)

    seen = reasons(found, "rows")
    assert {kinds[n // 2][1]: seen.get(n) for n in damaged} == {kind[1]: kind[3] for kind in kinds}
    assert kept(found, "rows") == set(range(0, len(rows), 2))


def test_at_least_forty_kinds_of_damage() -> None:
    assert len({(kind[1], kind[3]) for kind in KINDS}) >= 40


def test_a_reject_keeps_what_was_refused(tmp_path: Path) -> None:
    row, *rest = good("gsm8k", 9)
    wrong = {**row, "answer": "2+2=4"}
    data = json.dumps(wrong).encode() + b'\n{"question": "h\xe9"\n\n' + b"\n".join(json.dumps(r).encode() for r in rest)
    (tmp_path / "rows.jsonl").write_bytes(data)

    found = run(tmp_path, Source(path=str(tmp_path / "rows.jsonl"), name="rows", adapter="gsm8k"))

    rejects = {reject["index"]: reject for reject in found["rejects"]}
    assert rejects[0]["row"] == wrong and rejects[0]["reason"] == "no-answer"
    assert rejects[1]["row"] == '{"question": "h\\xe9"' and rejects[1]["reason"] == "not-utf8"
    assert rejects[2]["row"] == "" and rejects[2]["reason"] == "empty-line"


def test_sound_oddities_are_no_damage(tmp_path: Path) -> None:
    rows = good("chat", 4)
    rows[1]["messages"][1]["content"] += "\u2028And\u2029why\x85?\x0b".replace("\x0b", "")
    rows[2]["messages"][1]["content"] += " \U0001f600"
    texts = [json.dumps(row, ensure_ascii=n != 2).encode() for n, row in enumerate(rows)]
    texts[1] = json.dumps(rows[1], ensure_ascii=False).encode()  # U+2028 as bytes
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(texts))

    found = run(tmp_path, Source(path=str(tmp_path / "rows.jsonl"), name="rows", adapter="chat"))

    assert [row["index"] for row in found["sft"]] == [0, 1, 2, 3]
    assert not found["rejects"]


def test_every_reason_is_explained_and_every_reject_reason_is_known(tmp_path: Path) -> None:
    assert all(reason == reason.lower() and " " not in reason for reason in REASONS)
    assert {kind[3] for kind in KINDS} <= set(REASONS)


def test_contamination_is_refused_with_its_reasons(tmp_path: Path) -> None:
    test = evaluation()
    exact = {**test[0], "question": "  " + test[0]["question"].upper().replace(" ", "  ")}
    rest = good("gsm8k", 6)
    long = "Before the long story begins " + " ".join(f"word{n}" for n in range(20))
    test.append({"question": f"{long}, how many words are there?", "answer": "20\n#### 20"})
    shared = {"question": f"{long}, then somebody counts 5 of them and asks what is left now.", "answer": "15\n#### 15"}
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in [exact, shared, *rest]))

    found = run(tmp_path, Source(path=str(tmp_path / "rows.jsonl"), name="rows", adapter="gsm8k"), test=test)

    assert reasons(found, "rows") == {0: "overlap-exact", 1: "overlap-ngram"}
    assert found["rejects"][0]["of"] == {"file": "evaluation", "source": "test", "index": 0}
