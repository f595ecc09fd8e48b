"""Limits on a completion beside the lengths of what SFT teaches to write."""

from components.lib.files import read_json, write_json
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
        said + "evaluate_max_new_tokens=48 is less; set it to 500 or more",
        said + "gate_max_mean_tokens=40 is less; set it to 220 or more",
    ]
    assert cut_replies(tmp_path, {"gate_max_mean_tokens": 0.0, "grpo_max_new_tokens": 500}) == []


def test_where_nothing_is_taught_the_gold_solutions_count(tmp_path):
    write_json(tmp_path / "summary.json", {"lengths": {"solutions": {"median": 40, "p95": 64}}})
    said = (
        "half of the problems' gold solutions have up to 40 tokens, 95 % up to 64: evaluate_max_new_tokens=48 is less"
    )
    assert cut_replies(tmp_path, LIMITS) == [f"{said}; set it to 64 or more"]


def test_without_lengths_nothing_is_said(tmp_path):
    assert cut_replies(tmp_path, LIMITS) == []
    write_json(tmp_path / "summary.json", {"lengths": {}})
    assert cut_replies(tmp_path, LIMITS) == []


def test_standardize_writes_and_says_the_lengths_of_replies_and_solutions(tmp_path, capsys):
    rows = good("chat", 8)
    rows[0]["messages"][-1]["content"] = rows[0]["messages"][-1]["content"].replace("####", "so " * 60 + "\n####")
    path, test = write(tmp_path / "rows.jsonl", rows), write(tmp_path / "test.jsonl", evaluation())
    plan = Plan(
        model="tiny", revision="main", seed=0, sources=(Source(path=path, name="rows", adapter="chat"),),
        evaluation=(Source(path=test, name="test", adapter="gsm8k"),),
    )  # fmt: skip
    standardize(plan=plan, settings=SETTINGS, out=tmp_path / "out")
    lengths = read_json(tmp_path / "out" / "summary.json")["lengths"]
    said = [line for line in capsys.readouterr().out.splitlines() if "half of" in line or "the limits" in line]
    for line, title in zip(said, ("replies", "solutions"), strict=False):
        assert f"{lengths[title]['median']} tokens, 95 % up to {lengths[title]['p95']}" in line
    wanted, mean = lengths["replies"]["p95"], lengths["replies"]["median"]
    assert f"grpo_max_new_tokens {wanted} or more, gate_max_mean_tokens {mean} or more" in said[2]
    (line,) = cut_replies(tmp_path / "out", {"grpo_max_new_tokens": 10})
    assert "grpo_max_new_tokens=10 is less" in line and "set it to " in line
