"""The real GSM8K: every gold, the known wrong ones, the known contamination."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from components.lib.recipe.schema import Source
from tests.fixtures.gsm8k import GSM8K, needs_gsm8k
from tests.fixtures.rows import Outputs, kept, reasons, run

pytestmark = needs_gsm8k


def _rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (GSM8K / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    folder = tmp_path_factory.mktemp("gsm8k")
    source = Source(path=str(GSM8K / "train.jsonl"), name="gsm8k", adapter="gsm8k", licence="mit")
    return run(folder, source, test=_rows("test.jsonl"))


def test_every_gold_is_recovered(found: Outputs) -> None:
    train, test = _rows("train.jsonl"), _rows("test.jsonl")
    assert (len(train), len(test), len(found["evaluation"])) == (7473, 1319, 1319)
    golds = {("gsm8k", n): row["answer"].split("####")[1] for n, row in enumerate(train)}
    golds |= {("test", n): row["answer"].split("####")[1] for n, row in enumerate(test)}
    written = [row for name in ("problems", "plateau", "gate", "evaluation") for row in found[name]]
    for row in written:
        assert Fraction(row["gold"]) == Fraction(golds[row["source"], row["index"]].replace(",", "").strip())
        assert "<<" not in row["solution"] and "####" not in row["solution"] and row["solution"]
    assert len(written) + len(found["rejects"]) == 7473 + 1319


def test_refused_are_the_wrong_golds_and_the_contamination(found: Outputs) -> None:
    refused = reasons(found, "gsm8k")
    assert {index for index, reason in refused.items() if reason == "wrong-gold"} == {356, 2770, 4796}
    assert {index for index, reason in refused.items() if reason == "overlap-ngram"} == {20, 406, 1314, 5162}
    assert set(refused.values()) == {"wrong-gold", "overlap-ngram", "near-duplicate"} and len(refused) < 20


def test_the_splits_have_their_shares_and_are_disjoint(found: Outputs) -> None:
    sets = [{row["id"] for row in found[name]} for name in ("problems", "plateau", "gate", "evaluation")]
    assert sum(map(len, sets)) == len(set.union(*sets))
    assert 0.015 < len(sets[1]) / 7473 < 0.025 and 0.05 < len(sets[2]) / 7473 < 0.07


def test_reworded_questions_are_recognised(tmp_path: Path, found: Outputs) -> None:
    rows = _rows("train.jsonl")[:300]
    traces = [
        {"messages": [
            {"role": "user", "content": row["question"].upper().replace(" ", "  ") if n % 2 else row["question"]},
            {"role": "assistant", "content": f"<thought>{row['answer'].split('####')[0]}</thought>\n#### "
                f"{row['answer'].split('####')[1].strip() if n % 3 else '123456'}"},
        ]} for n, row in enumerate(rows)
    ]  # fmt: skip
    wrong = _rows("train.jsonl")[356]["question"]
    traces.append({"messages": [
        {"role": "user", "content": wrong}, {"role": "assistant", "content": "<think>So I say.</think>\n#### 66"},
    ]})  # fmt: skip
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, traces)))
    again = run(
        tmp_path, Source(path=str(GSM8K / "train.jsonl"), name="gsm8k", adapter="gsm8k"),
        Source(path=str(tmp_path / "chat.jsonl"), name="chat", adapter="chat"), test=_rows("test.jsonl")[:50],
    )  # fmt: skip
    refused = reasons(again, "chat")
    held = {row["index"] for name in ("plateau", "gate") for row in again[name]}
    for n in range(300):
        expected = "held-out" if n in held else "contradicts-gold" if n % 3 == 0 else None
        assert refused.get(n) == expected, n
    assert refused[300] == "wrong-gold"
    assert kept(again, "chat") == {row["index"] for row in again["sft"] if row["gold"] is not None}
