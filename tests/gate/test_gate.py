"""The gate: paired wins with a margin, guards, the champion, and force that is on the record."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.gate.gate import decide, run_gate
from components.lib.answers.judging import champion_mismatch, read_items
from components.lib.files import write_jsonl
from components.lib.recipe import recipes
from components.lib.recipe.settings import replace
from components.lib.registry.store import open_store

SETTINGS = replace(recipes.TINY.gate, max_mean_tokens=0.0)
HARD = {f"q{number:03}" for number in (*range(10), *range(90, 100))}
Write = Callable[..., Path]


def item(number: int, right: bool, **changes: Any) -> dict[str, Any]:
    row = {
        "checkpoint": "x", "split": "gate", "protocol": "zero-shot", "id": f"q{number:03}", "sample": 0,
        "prompt_sha256": f"p{number}", "sampling": "greedy", "gold": "42", "correct": right, "prefilled": True,
        "completion": f"1\n</think>\n\n#### {42 if right else 41}", "tokens": 10, "finish_reason": "stop",
        "think_ok": True, "answer_marked": True,
    }  # fmt: skip
    return row | changes


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write an evaluation in which the named problems of 0..99 are right."""

    def _write(name: str, right: range, problems: int = 100, **changes: Any) -> Path:
        rows = [item(number, number in right, **changes) for number in range(problems)]
        # Rows that must not count: another split, protocol and sample.
        rows += [item(0, True, split="evaluation"), item(0, True, protocol="8-shot"), item(0, True, sample=1)]
        write_jsonl(tmp_path / name / "items.jsonl", rows)
        return tmp_path / name

    return _write


def test_a_better_model_is_promoted_with_its_numbers(write: Write) -> None:
    evaluations = {
        "base": write("base", range(20)),
        "sft": write("sft", range(5)),
        "grpo": write("grpo", range(10, 60)),
    }
    decision = decide(evaluations=evaluations, champion=None, settings=SETTINGS)
    assert decision.promote
    assert decision.reason.startswith("grpo is promoted: 50.0% of 100 gate problems, +30.0% on the base (p = ")
    numbers = decision.numbers
    assert (numbers["n"], numbers["accuracy"], numbers["base_accuracy"]) == (100, 0.5, 0.2)
    assert (numbers["base_won"], numbers["base_lost"]) == (40, 10)
    assert numbers["base_difference"] == pytest.approx(0.3)
    assert (numbers["forced"], numbers["failures"]) == (False, []) and "champion_difference" not in numbers
    assert json.loads(decision.to_json()) == {"promote": True, "reason": decision.reason, "numbers": numbers}


def test_a_gain_that_may_be_chance_or_is_below_the_margin_is_rejected(write: Write) -> None:
    evaluations = {"base": write("base", range(20)), "grpo": write("grpo", range(23))}
    decision = decide(evaluations=evaluations, champion=None, settings=SETTINGS)
    assert not decision.promote
    assert (
        decision.reason
        == "grpo is rejected: it gains 3.0 points on the base, which may be chance (p = 0.125, more than 0.05)."
    )
    strict = replace(SETTINGS, margin=0.05, alpha=1.0)
    assert (
        "it gains 3.0 points on the base, where at least 5.0 points must be gained"
        in decide(evaluations=evaluations, champion=None, settings=strict).reason
    )


def test_the_champion_must_be_beaten_too(write: Write) -> None:
    evaluations = {"base": write("base", range(20)), "grpo": write("grpo", range(60))}
    champion = write("champion", range(59)) / "items.jsonl"
    decision = decide(evaluations=evaluations, champion=champion, settings=SETTINGS)
    assert not decision.promote
    assert "on the champion, which may be chance" in decision.reason
    assert decision.numbers["champion_won"] == 1
    worse = decide(evaluations=evaluations, champion=write("better", range(70)), settings=SETTINGS)
    assert worse.reason == "grpo is rejected: it loses 10.0 points to the champion."
    weak = write("weak", range(30)) / "items.jsonl"
    decision = decide(evaluations=evaluations, champion=weak, settings=SETTINGS)
    assert decision.promote and "+30.0% on the champion" in decision.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"problems": 90}, "10 problems are in one of them only"),
        ({"prompt_sha256": "other"}, "100 of 100 prompts differ"),
        ({"gold": "43"}, "100 of 100 golds differ"),
        ({"sampling": "at most 9 tokens"}, "100 of 100 ways of sampling differ"),
    ],
)
def test_a_champion_measured_otherwise_is_never_passed_over(write: Write, change: dict[str, Any], why: str) -> None:
    evaluations = {"base": write("base", range(20)), "grpo": write("grpo", range(60))}
    champion = write("champion", range(90), **change) / "items.jsonl"
    assert why in champion_mismatch(evaluations["grpo"], champion)
    with pytest.raises(ValueError, match=f"the champion cannot be paired: {why}.*; evaluate grpo anew"):
        decide(evaluations=evaluations, champion=champion, settings=SETTINGS)


def test_kept_answers_are_judged_by_todays_parser(write: Write) -> None:
    """The champion's rows say that all is right, as an older parser might have; their completions are not."""
    evaluations = {"base": write("base", range(20)), "grpo": write("grpo", range(60))}
    champion = write("champion", range(0), correct=True)
    decision = decide(evaluations=evaluations, champion=champion, settings=SETTINGS)
    assert decision.promote and decision.numbers["champion_accuracy"] == 0.0


def test_long_completions_are_rejected_where_a_length_is_set(write: Write) -> None:
    evaluations = {"base": write("base", range(20)), "grpo": write("grpo", range(60), tokens=30)}
    assert decide(evaluations=evaluations, champion=None, settings=SETTINGS).promote
    decision = decide(evaluations=evaluations, champion=None, settings=replace(SETTINGS, max_mean_tokens=29.5))
    assert not decision.promote and decision.numbers["mean_tokens"] == 30
    assert decision.reason == "grpo is rejected: its completions have 30.0 tokens on average (at most 29.5)."


def test_the_few_shot_floor_holds_where_the_gate_problems_were_asked_so(write: Write) -> None:
    shots = [item(number, number < 50, protocol="8-shot") for number in range(1, 100)]
    evaluations = {"base": write("base", range(20)), "grpo": write("grpo", range(60))}
    for path, right in ((evaluations["base"], 50), (evaluations["grpo"], 45)):
        with (path / "items.jsonl").open("a") as file:  # problem 0 is there already
            file.writelines(json.dumps(row | {"correct": n < right}) + "\n" for n, row in enumerate(shots, 1))
    loose = decide(evaluations=evaluations, champion=None, settings=replace(SETTINGS, max_few_shot_loss=0.06))
    assert loose.promote and loose.numbers["8_shot_accuracy"] == pytest.approx(0.45)
    strict = decide(evaluations=evaluations, champion=None, settings=SETTINGS)
    assert strict.reason == (
        "grpo is rejected: 8-shot it has 45.0% where the base has 50.0% (a loss of at most 2.0% is allowed)."
    )


def test_the_gate_can_demand_no_loss_on_each_source(write: Write) -> None:
    """Together it gains 30 points; on the 20 problems of math it loses two."""
    evaluations = {"base": write("base", range(10)), "grpo": write("grpo", range(2, 42))}
    for path in evaluations.values():
        rows = [json.loads(line) for line in (path / "items.jsonl").read_text().splitlines()]
        write_jsonl(path / "items.jsonl", [r | {"source": "math" if r["id"] in HARD else "gsm8k"} for r in rows])
    decision = decide(evaluations=evaluations, champion=None, settings=SETTINGS)
    assert decision.promote, "what the built-in recipes ask"
    assert decision.reason.endswith(
        "From the base by source: gsm8k 0.0% to 40.0%, math 50.0% to 40.0%, macro 25.0% to 40.0%."
    )
    numbers = decision.scalars
    assert (numbers["on_math_accuracy"], numbers["base_on_math_accuracy"]) == (0.4, 0.5)
    assert (numbers["macro_accuracy"], numbers["base_macro_accuracy"]) == (0.4, 0.25)
    for loss, promoted in ((0.1, True), (0.09, False), (0.0, False)):
        decision = decide(evaluations=evaluations, champion=None, settings=replace(SETTINGS, max_source_loss=loss))
        assert decision.promote == promoted
    assert decision.reason.startswith(
        "grpo is rejected: of the 20 problems of math it has 40.0% right where the base has 50.0% "
        "(a loss of at most 0.0% is allowed). From"
    )


def test_one_source_alone_is_not_told_apart(write: Write) -> None:
    evaluations = {"base": write("base", range(20), source="x"), "grpo": write("grpo", range(60), source="x")}
    decision = decide(evaluations=evaluations, champion=None, settings=replace(SETTINGS, max_source_loss=0.0))
    assert decision.promote and "source" not in decision.reason
    assert not [name for name in decision.numbers if "macro" in name or "on_x" in name]


def test_guards_hold_and_force_is_recorded(write: Write) -> None:
    base = write("base", range(20))
    cut = {"base": base, "grpo": write("cut", range(60), finish_reason="length", think_ok=False)}
    decision = decide(evaluations=cut, champion=None, settings=SETTINGS)
    assert not decision.promote
    assert "100.0% of its completions were cut off (at most 10.0%)" in decision.reason
    assert "only 0.0% of its completions are well formed (at least 50.0%)" in decision.reason
    forced = decide(evaluations=cut, champion=None, settings=replace(SETTINGS, force=True))
    assert forced.promote and forced.numbers["forced"] and len(forced.numbers["failures"]) == 2
    assert forced.reason.startswith("grpo is promoted by force, although 100.0% of its")


def test_a_passing_model_is_not_called_forced(write: Write) -> None:
    evaluations = {"base": write("base", range(20)), "grpo": write("grpo", range(60))}
    decision = decide(evaluations=evaluations, champion=None, settings=replace(SETTINGS, force=True))
    assert decision.promote and not decision.numbers["forced"]


def test_items_that_cannot_be_paired_are_refused(write: Write, tmp_path: Path) -> None:
    base, grpo = write("base", range(20)), write("grpo", range(60), problems=99)
    with pytest.raises(ValueError, match=r"cannot be paired on the gate split: 1 problems .* such as q099"):
        decide(evaluations={"base": base, "grpo": grpo}, champion=None, settings=SETTINGS)
    with pytest.raises(ValueError, match="needs base first and the candidate last"):
        decide(evaluations={"grpo": grpo}, champion=None, settings=SETTINGS)
    write_jsonl(tmp_path / "items.jsonl", [item(0, True, split="evaluation")])
    with pytest.raises(ValueError, match="no zero-shot rows of the gate split"):
        read_items(tmp_path)
    write_jsonl(tmp_path / "items.jsonl", [item(0, True), item(0, True)])
    with pytest.raises(ValueError, match="q000 is there twice"):
        read_items(tmp_path)


def test_the_reason_says_which_of_grpos_weights_were_judged(write: Write, tmp_path: Path) -> None:
    rows = [{"step": step, "accuracy": 0.5, "n": 10} for step in (0, 20, 40)]
    write_jsonl(tmp_path / "curves" / "plateau.jsonl", rows)
    base, candidate = write("base", range(20), checkpoint="base"), write("grpo", range(20), checkpoint="grpo")
    decision = run_gate(
        base=base, candidate=candidate, curves=tmp_path / "curves", registry=str(tmp_path / "registry"),
        settings=SETTINGS, decision_out=tmp_path / "decision.json",
    )  # fmt: skip
    assert decision.reason == (
        "grpo is rejected: it answers as many problems right as the base. GRPO handed on the weights of step 0 of 40, "
        "the best on the plateau split: they are those that it began with, so it changed nothing."
    )
    assert json.loads((tmp_path / "decision.json").read_text())["reason"] == decision.reason


def test_run_gate_reads_the_champion_from_the_registry(write: Write, tmp_path: Path) -> None:
    registry, out = str(tmp_path / "registry"), tmp_path / "decision.json"
    base, candidate = write("base", range(20), checkpoint="base"), write("grpo", range(60), checkpoint="grpo")
    paths: dict[str, Any] = {
        "base": base,
        "candidate": candidate,
        "registry": registry,
        "settings": SETTINGS,
        "decision_out": out,
        "curves": None,
    }
    first = run_gate(**paths)
    assert first.promote and json.loads(out.read_text())["reason"] == first.reason
    assert first.scalars["base_difference"] == pytest.approx(0.4) and first.scalars["forced"] == 0.0
    store = open_store(registry)
    store.write("models/v1/evaluation/gate.jsonl", (candidate / "items.jsonl").read_bytes())
    store.write_json("champion.json", {"version": "v1", "items": "models/v1/evaluation/gate.jsonl"})
    second = run_gate(**paths)
    assert not second.promote and second.numbers["champion_difference"] == 0.0
    assert (first.numbers["champion"], second.numbers["champion"]) == ("", "v1")
    write_jsonl(candidate / "champion" / "items.jsonl", [item(number, number < 5) for number in range(100)])
    for version, promoted in (("v1", True), ("v0", False)):  # the newly measured one counts if it is the champion
        (candidate / "champion" / "champion.json").write_text(json.dumps({"version": version}))
        assert run_gate(**paths).promote == promoted
