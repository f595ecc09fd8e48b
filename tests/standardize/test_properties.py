"""What holds for any rows: nothing is lost, order and company change no split, a second pass changes nothing."""

import json
import random
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.lib.data.adapters import Draft
from components.lib.data.gold import parsed_gold
from components.lib.data.minhash import jaccard, shingles, sketch, word_hashes
from components.lib.data.normal import clean, same
from components.lib.data.readers import read_records
from components.lib.data.reasons import Refused
from components.lib.recipe.schema import Source
from tests.fixtures.rows import FILES, Outputs, good, run, write

FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=200, deadline=None)
PROBLEMS = good("gsm8k", 120)
words = st.lists(st.sampled_from("tom has 3 cups and finds 14 more in a box how many".split()), min_size=1, max_size=12)
questions = words.map(lambda found: " ".join(found) + "?")
number = st.integers(-50, 50).map(str)
problems = st.builds(lambda q, n: {"question": q, "answer": f"worked\n#### {n}"}, questions, number)
answers = st.one_of(number.map("#### {}".format), number.map("The answer is {}.".format), st.just("I give up."))
chats = st.builds(
    lambda q, t, a: {
        "messages": [{"role": "user", "content": q}, {"role": "assistant", "content": f"<think>{t}</think>{a}"}]
    },
    questions, st.text(min_size=1, max_size=30), answers,
)  # fmt: skip


def _run(rows: list, chat: list, **changes) -> Outputs:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [Source(path=write(folder / "p.jsonl", [*rows, *PROBLEMS[:20]]), name="p", adapter="gsm8k")]
        sources.append(Source(path=write(folder / "c.jsonl", [*chat, *good("chat", 3)]), name="c", adapter="chat"))
        return run(folder, *sources, **({"plateau_share": 0.2, "gate_share": 0.2} | changes))


def _splits(found: Outputs) -> dict[str, str]:
    return {row["id"]: name for name in ("problems", "plateau", "gate") for row in found[name]}


@FEW
@given(st.lists(problems, max_size=15), st.lists(chats, max_size=15))
def test_every_row_is_in_exactly_one_file(rows: list, chat: list) -> None:
    found = _run(rows, chat)
    places = [(row["source"], row["index"]) for name in FILES for row in found[name]]
    expected = (
        {("p", n) for n in range(len(rows) + 20)}
        | {("c", n) for n in range(len(chat) + 3)}
        | {("test", n) for n in range(5)}
    )
    assert len(places) == len(set(places)) and set(places) == expected


@FEW
@given(st.lists(problems, max_size=15), st.lists(chats, max_size=15))
def test_standardising_twice_changes_nothing(rows: list, chat: list) -> None:
    first = _run(rows, chat)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        again = [first["problems"], first["plateau"], first["gate"]]
        sources = [
            Source(path=write(folder / f"{n}.jsonl", found), name=str(n), adapter="gsm8k")
            for n, found in enumerate(again) if found
        ]  # fmt: skip
        sources.append(Source(path=write(folder / "c.jsonl", first["sft"]), name="c", adapter="chat"))
        second = run(folder, *sources, plateau_share=0.2, gate_share=0.2)
    assert not second["rejects"]
    for name, fields in (
        ("sft", ("id", "messages", "gold")),
        *((n, ("id", "question", "gold", "solution")) for n in FILES[1:4]),
    ):
        assert [[row[f] for f in fields] for row in first[name]] == [[row[f] for f in fields] for row in second[name]]
        assert [row["hash"] for row in first[name]] == [row["hash"] for row in second[name]]


@FEW
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_order_and_company_move_no_row(shuffle: random.Random, seed: int) -> None:
    rows = list(PROBLEMS)
    shuffle.shuffle(rows)
    whole = _splits(_run(rows, [], seed=seed))
    part = _splits(_run(PROBLEMS[:60], [], seed=seed))
    assert set(whole.values()) == {"problems", "plateau", "gate"}
    assert whole == _splits(_run(PROBLEMS, [], seed=seed))
    assert all(whole[id] == place for id, place in part.items())


def test_another_seed_makes_other_splits() -> None:
    one, two = (_splits(_run(PROBLEMS, [], seed=seed)) for seed in (0, 1))
    assert one.keys() == two.keys() and one != two


@MANY
@given(st.text())
def test_clean_and_same_are_stable(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert same(clean(text)) == same(text)
    assert same(text.replace(" ", " \n ")) == same(text)


@MANY
@given(st.integers(-(10**12), 10**12))
def test_golds_with_commas_are_recovered(value: int) -> None:
    assert parsed_gold(f"{value:,}", Draft("", "", "", None), "number", "marker").answer == str(value)


@MANY
@given(words, words)
def test_sketches_of_short_texts_give_the_exact_similarity(one: list[str], two: list[str]) -> None:
    sets = [set(shingles(word_hashes(text)).tolist()) for text in (one, two)]
    found = jaccard(*(sketch(shingles(word_hashes(text))) for text in (one, two)))
    assert found == len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([b'{"a": 1}', b"", b"\xff", b"[", b"{}\r", b'"\\ud800"'])).map(b"\n".join)
)
def test_any_bytes_give_one_record_per_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    if data.startswith(b"\x1f\x8b"):
        return
    records = list(read_records(tmp_path / "a.jsonl", "a.jsonl"))
    assert [record.index for record in records] == list(
        range(data.count(b"\n") + (not data.endswith(b"\n") and data != b""))
    )
    for record in records:
        json.dumps(record.row, ensure_ascii=False).encode()
        assert isinstance(record.row, dict) if record.refused is None else isinstance(record.refused, Refused)
