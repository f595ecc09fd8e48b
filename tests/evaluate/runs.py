"""Problems, traces and a run of evaluate with the tiny model, for its tests."""

import pytest

from components.evaluate import evaluate as stage
from components.lib.files import read_json, read_jsonl, write_jsonl
from components.lib.generation import prompts
from components.lib.recipe import recipes
from components.lib.recipe.settings import replace

SETTINGS = replace(recipes.TINY.evaluate, max_new_tokens=24, batch_size=4, problems=0, gate_problems=0)


def problem(number, split):
    a, b = number % 9 + 1, number // 9 + 1
    return {
        "id": f"{split}/{number}", "question": f"Tom has {a} cards. Tom finds {b} more in {split}. How many cards now?",
        "gold": str(a + b), "solution": f"{a}+{b}={a + b}", "source": split, "index": number, "revision": "r",
        "licence": "mit", "hash": f"{number * 7919 % 1000:03}{split}",
    }  # fmt: skip


def trace(row, reasoning, gold):
    messages = [
        *prompts.question_messages(row["question"]),
        {"role": "assistant", "content": prompts.assistant_text(reasoning, f"#### {row['gold']}")},
    ]
    return {"id": row["id"], "messages": messages, "gold": gold, "source": "t", "hash": row["hash"]}


def run(data, out, settings=SETTINGS, model="tiny", checkpoint="base", seed=0, checkpoints=None, **others):
    pytest.importorskip("torch", reason="needs torch: no model is evaluated")
    numbers = stage.evaluate(
        model=model, revision="main", checkpoint=checkpoint, data=data, out=out, checkpoints=checkpoints, seed=seed,
        settings=settings, **others,
    )  # fmt: skip
    return numbers, list(read_jsonl(out / "items.jsonl")), read_json(out / "summary.json")


def mixed(data, training):
    """Four evaluation problems of mathematics beside the ten with numbers, and so many to train on."""
    for split, count in (("evaluation", 4), ("problems", training)):
        rows = [problem(20 + k, split) | {"source": "math", "answers": "math"} for k in range(count)]
        write_jsonl(data / f"{split}.jsonl", [*read_jsonl(data / f"{split}.jsonl"), *rows])
