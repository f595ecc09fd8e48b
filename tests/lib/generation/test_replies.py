"""Limits on a completion beside the lengths of what SFT teaches to write."""

from components.lib.files import write_json
from components.lib.generation.context import cut_replies
from components.lib.recipe.schema import Source
from components.lib.registry.plan import Plan
from components.standardize.standardize import standardize
from tests.fixtures.rows import SETTINGS, evaluation, good, write

LIMITS = {"evaluate_max_new_tokens": 48, "grpo_max_new_tokens": 512, "gate_max_mean_tokens": 40.0}


def test_a_limit_below_what_is_taught_is_named_with_a_value_to_set(tmp_path):
    write_json(tmp_path / "summary.json", {"lengths": {"replies": {"median": 220, "p95": 500}}})
    said = "half of the replies that SFT teaches have up to 220 tokens, 95 % up to 500: "
    assert cut_replies(tmp_path, LIMITS) == [
        said + "evaluate_max_new_tokens=48 is less than the model learns to write; set it to 500 or more",
        said + "gate_max_mean_tokens=40 is less than the model learns to write; set it to 220 or more",
    ]
    assert cut_replies(tmp_path, {"gate_max_mean_tokens": 0.0, "grpo_max_new_tokens": 500}) == []


def test_without_conversations_nothing_is_said(tmp_path):
    assert cut_replies(tmp_path, LIMITS) == []
    write_json(tmp_path / "summary.json", {"lengths": {}})
    assert cut_replies(tmp_path, LIMITS) == []


def test_standardize_writes_the_lengths_of_the_replies(tmp_path):
    rows = good("chat", 8)
    rows[0]["messages"][-1]["content"] = rows[0]["messages"][-1]["content"].replace("####", "so " * 60 + "\n####")
    path, test = write(tmp_path / "rows.jsonl", rows), write(tmp_path / "test.jsonl", evaluation())
    plan = Plan(
        model="tiny", revision="main", seed=0, sources=(Source(path=path, name="rows", adapter="chat"),),
        evaluation=(Source(path=test, name="test", adapter="gsm8k"),),
    )  # fmt: skip
    standardize(plan=plan, settings=SETTINGS, out=tmp_path / "out")
    (line,) = cut_replies(tmp_path / "out", {"grpo_max_new_tokens": 10})
    assert "grpo_max_new_tokens=10 is less" in line and "set it to " in line
