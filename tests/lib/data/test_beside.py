"""A gold beside a conversation holds it, whatever the adapter and whatever the gold is called."""

import json
from pathlib import Path

import pytest

from components.lib.data.adapters import ADAPTERS
from components.lib.data.reasons import Refused
from components.lib.recipe.schema import Source
from tests.fixtures.rows import good, kept, reasons, run, write
from tests.lib.data.formats import ASKED, OPEN, THOUGHT

SAID = "3+4.\n\n#### 7"
BLOCK = f"<think>{THOUGHT}</think>{SAID}"


def _turns(answer: str, **more) -> list[dict]:
    return [{"role": "user", "content": ASKED}, {"role": "assistant", "content": answer, **more}]


CONVERSATIONS = {
    "chat": {"messages": _turns(BLOCK)},
    "prompt-completion": {"prompt": ASKED, "completion": BLOCK},
    "thinking-solution": {"problem": ASKED, "thinking": THOUGHT, "solution": SAID},
    "reasoning-content": {"messages": _turns(SAID, reasoning_content=THOUGHT)},
    "sharegpt": {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": BLOCK}]},
    "openthoughts": {"messages": _turns(OPEN.format(THOUGHT, SAID))},
    "r1": {"instruction": ASKED, "reasoning": THOUGHT, "response": SAID},
    "trace": {"question": ASKED, "reasoning": THOUGHT, "answer": SAID},
    "alpaca": {"instruction": ASKED, "input": "", "output": BLOCK},
}
NAMES = ["gold", "answer", "final_answer", "expected_answer", "ground_truth"]
LONG = "Tom has three cups, and then he looks around and finds four, which makes seven in all."


@pytest.mark.parametrize("use", ["sft", "problems"])
@pytest.mark.parametrize("adapter", CONVERSATIONS)
def test_a_gold_that_the_conversation_contradicts_is_refused(tmp_path: Path, adapter: str, use: str) -> None:
    names = [name for name in NAMES if (adapter, name) != ("trace", "answer")]
    beside = [
        {name: value} for name in names for value in ("7", 7, "8", 8.5, None, LONG if name != "gold" else [["7"]])
    ]
    text = json.dumps(CONVERSATIONS[adapter])
    rows = [json.loads(text.replace("Tom", f"Tom {n * 37}")) | more for n, more in enumerate(beside)]
    path = write(tmp_path / "rows.jsonl", rows)
    source = Source(path=path, name="rows", adapter=adapter, use=use, answers="number")
    extra = Source(path=write(tmp_path / "good.jsonl", good("gsm8k", 3)), name="good", adapter="gsm8k", use="both")
    found = run(tmp_path, source, extra, duplicate_similarity=1.0)
    wrong = {n: "contradicts-gold" for n, more in enumerate(beside) if str(next(iter(more.values()))) in ("8", "8.5")}
    assert reasons(found, "rows") == wrong and kept(found, "rows") == set(range(len(rows))) - set(wrong)


def test_two_golds_that_are_different_numbers_are_refused() -> None:
    for adapter, row in CONVERSATIONS.items():
        with pytest.raises(Refused, match="several-answers"):
            ADAPTERS[adapter](row | {"gold": "7", "ground_truth": "8"})
        assert ADAPTERS[adapter](row | {"gold": "7", "ground_truth": "7.0", "final_answer": "B"}).gold == "7"


def test_a_gold_of_the_row_must_be_that_of_the_problem_it_asks(tmp_path: Path) -> None:
    problems = write(tmp_path / "p.jsonl", [{"question": ASKED, "answer": "3+4=7\n#### 7"}, *good("gsm8k", 5)])
    rows = [CONVERSATIONS["chat"] | {"gold": gold} for gold in ("7", "7.0", "8")]
    for row, said in zip(rows, ("a", "b", "c"), strict=True):
        row["messages"] = _turns(BLOCK.replace(THOUGHT, f"{THOUGHT} {said}"))
    asked = Source(path=write(tmp_path / "rows.jsonl", rows), name="rows", adapter="chat")
    settings = {"plateau_share": 0.0, "gate_share": 0.0, "duplicate_similarity": 1.0}
    found = run(tmp_path, Source(path=problems, adapter="gsm8k"), asked, **settings)
    assert reasons(found, "rows") == {2: "contradicts-gold"}


def test_an_alpaca_problem_must_agree_with_its_gold() -> None:
    row = {"instruction": ASKED, "input": "", "output": "7"}
    assert ADAPTERS["alpaca"](row | {"gold": 7}).gold == "7"
    assert ADAPTERS["alpaca"](row | {"output": LONG, "answer": "7"}).gold == LONG
    with pytest.raises(Refused, match="wrong-gold"):
        ADAPTERS["alpaca"](row | {"gold": "8"})
