"""Comparing saved evaluations: the numbers, their names, and what is refused."""

import contextlib
import json
import subprocess
import sys

import pytest

from components.compare.__main__ import recompute
from components.compare.compare import compare
from components.lib.command import main
from components.lib.files import read_json, read_jsonl, write_jsonl
from components.lib.recipe.recipes import TINY
from components.lib.recipe.schema import Compare
from components.lib.recipe.settings import replace
from tests.conftest import saved_item

RECIPE = replace(TINY, compare=Compare(confidence=0.95, bootstrap_samples=500, examples=2))


def run(evaluations, out, curves=None, recipe=RECIPE):
    numbers = compare(evaluations=evaluations, curves=curves or {}, out=out, recipe=recipe)
    return numbers, read_json(out / "results.json")


def change(path, edit):
    write_jsonl(path / "items.jsonl", [edit(item) for item in list(read_jsonl(path / "items.jsonl"))])


def test_counts_pairs_and_rates(evaluations, tmp_path):
    _, results = run(evaluations, tmp_path / "out")
    rows = {(row["checkpoint"], row["protocol"]): row for row in results["results"]}
    assert list(rows) == [(c, p) for p in ("zero-shot", "8-shot") for c in ("base", "sft", "grpo")]
    base, sft, grpo = (rows[c, "zero-shot"] for c in ("base", "sft", "grpo"))
    assert [row["correct"] for row in (base, sft, grpo)] == [10, 20, 30]
    assert base["before"] is None and base["p_value"] is None and base["discordant"] is None
    assert sft["discordant"] == [15, 5] and sft["difference"] == 0.25
    assert sft["p_value"] == pytest.approx(0.0414, abs=1e-4)
    assert sft["difference_interval"][0] < 0.25 < sft["difference_interval"][1]
    assert grpo["discordant"] == [10, 0]
    # Of base's 30 wrong ones (10 to 39) seven are multiples of 4; seven others are multiples of 3.
    assert base["truncated"] == 7 / 40 and base["outcomes"]["right_elsewhere"] == 7 / 40
    assert base["right_anywhere"] == 17 / 40 and base["unparsed"] == 14 / 40
    assert sum(base["outcomes"].values()) == pytest.approx(1)
    assert sum(base["lengths"]["shares"]) == pytest.approx(1, abs=1e-3)


def test_one_family_of_tests(evaluations, tmp_path):
    _, results = run(evaluations, tmp_path / "out")
    tested = [row for row in [*results["results"], *results["overall"]] if row["p_value"] is not None]
    assert results["tests"] == len(tested) == 6
    assert all(row["p_adjusted"] >= row["p_value"] for row in tested)
    assert [(r["before"], r["checkpoint"], r["discordant"]) for r in results["overall"]] == [
        ("base", "grpo", [20, 0])
    ] * 2
    assert all(row["p_adjusted"] is not None for row in results["gate"][1:])


def test_names_of_the_numbers_are_stable(evaluations, tmp_path):
    numbers, _ = run(evaluations, tmp_path / "out")
    assert numbers["grpo_zero_shot_accuracy"] == 0.75
    assert numbers["sft_8_shot_gain"] == 0.25 and numbers["grpo_zero_shot_gain_over_base"] == 0.5
    assert numbers["base_gate_accuracy"] == 0.5 and "base_zero_shot_gain" not in numbers
    assert all(isinstance(value, float) for value in numbers.values())


def test_the_same_files_give_the_same_report(evaluations, tmp_path):
    for name in ("one", "two"):
        run(evaluations, tmp_path / name)
    for file in ("results.json", "report.html", "report.md"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_flips_and_samples(evaluations, tmp_path):
    _, results = run(evaluations, tmp_path / "out")
    flip = results["flips"][0]
    assert (flip["before"], flip["after"], flip["won"], flip["lost"]) == ("base", "sft", 15, 5)
    assert len(flip["won_examples"]) == 2
    assert flip["won_examples"][0]["before"]["outcome"] != "right" == flip["won_examples"][0]["after"]["outcome"]
    kinds = {s["kind"]: s["count"] for s in results["samples"] if s["checkpoint"] == "grpo"}
    assert kinds == {"right": 30, "wrong": 5, "badly formed": 5}


def test_one_checkpoint_alone(evaluations, tmp_path):
    numbers, results = run({"base": evaluations["base"]}, tmp_path / "out")
    assert numbers["base_8_shot_accuracy"] == 0.25 and results["tests"] == 0 and results["flips"] == []


def test_two_checkpoints_have_no_overall_row(evaluations, tmp_path):
    _, results = run({c: evaluations[c] for c in ("base", "grpo")}, tmp_path / "out")
    assert results["overall"] == [] and results["results"][1]["before"] == "base"


def test_several_samples(evaluations, tmp_path):
    for checkpoint, path in evaluations.items():
        rows = list(read_jsonl(path / "items.jsonl"))
        again = [saved_item(checkpoint, r["split"], r["protocol"], int(r["id"][-3:]), False, 1) for r in rows]
        write_jsonl(path / "items.jsonl", rows + again)
    numbers, results = run(evaluations, tmp_path / "out")
    row = results["results"][0]
    assert row["n"] == 40 and row["correct"] == 5 and row["sampled"] == {"pass@1": 0.125, "pass@2": 0.25, "maj@2": 0.25}
    assert numbers["base_zero_shot_pass_at_2"] == 0.25
    assert results["results"][1]["difference"] == 0.125


def test_other_problems_are_refused(evaluations, tmp_path):
    change(evaluations["sft"], lambda item: item | {"id": item["id"].replace("039", "999")})
    with pytest.raises(ValueError, match=r"base and sft were not asked the same problems \(evaluation zero-shot, 2"):
        run(evaluations, tmp_path / "out")


def test_other_protocols_are_refused(evaluations, tmp_path):
    change(evaluations["grpo"], lambda item: item | {"protocol": item["protocol"].replace("8-shot", "8-shot-think")})
    with pytest.raises(ValueError, match="grpo on evaluation zero-shot, evaluation 8-shot-think"):
        run(evaluations, tmp_path / "out")


def test_repeated_items_are_refused(evaluations, tmp_path):
    rows = list(read_jsonl(evaluations["base"] / "items.jsonl"))
    write_jsonl(evaluations["base"] / "items.jsonl", [*rows, rows[3]])
    with pytest.raises(ValueError, match=r"items.jsonl:101 repeats line 4 \(problem 'evaluation/003', sample 0\)"):
        run(evaluations, tmp_path / "out")


def test_other_prompts_raise_an_alarm(evaluations, tmp_path):
    change(evaluations["grpo"], lambda item: item | {"prompt_sha256": "other"})
    _, results = run(evaluations, tmp_path / "out")
    assert any("grpo saw other prompts than base in 40 of 40 cases" in alarm for alarm in results["alarms"])


def test_training_curves_and_alarms(evaluations, tmp_path):
    steps = [{"step": k, "loss": 1.0 / k, "kl": 0.0, "reward": k / 1000, "seconds": k} for k in range(1, 1001)]
    write_jsonl(tmp_path / "curves" / "curves.jsonl", steps)
    write_jsonl(tmp_path / "curves" / "alarms.jsonl", [{"step": 7, "message": "KL ran away"}])
    _, results = run(evaluations, tmp_path / "out", curves={"grpo": tmp_path / "curves"})
    curves = results["curves"]["grpo"]
    assert set(curves) == {"reward", "loss"}, "a column of zeros is not drawn"
    assert 100 <= len(curves["loss"]) <= 160 and curves["reward"][-1][0] == 1000
    assert "grpo, step 7: KL ran away" in results["alarms"]


def test_command_recomputes_without_torch(evaluations, tmp_path):
    pairs = [f"{name}={path}" for name, path in evaluations.items()]
    script = (
        "import runpy, sys\ntry: runpy.run_module('components.compare', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers', 'kfp'} & set(sys.modules), 'heavy import'"
    )
    command = [sys.executable, "-c", script, "--evaluations", *pairs, "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "grpo        zero-shot  30/40" in done.stdout
    assert json.loads((tmp_path / "out" / "results.json").read_text())["tests"] == 6


@pytest.mark.parametrize(
    ("pairs", "words"),
    [(["base"], "'base' is not NAME=DIR"), (["base=a", "base=b"], "given twice"), (["base=nowhere"], "nowhere")],
)
def test_command_names_bad_arguments(pairs, words, tmp_path, capsys):
    command = ["--evaluations", *pairs, "--output", str(tmp_path)]
    with contextlib.suppress(SystemExit):
        assert main("compare", recompute, command, recipe="tiny") == 2
    told = capsys.readouterr()
    assert words in told.err and not told.out


def test_no_examples_when_none_are_asked_for(evaluations, tmp_path):
    _, results = run(evaluations, tmp_path / "out", recipe=replace(RECIPE, compare=replace(RECIPE.compare, examples=0)))
    assert all(not s["examples"] for s in results["samples"]) and results["samples"][0]["count"] > 0


def test_each_source_by_itself_beside_all_problems_together(mixed, tmp_path):
    numbers, results = run(mixed, tmp_path / "out")
    rows = {(r["source"], r["split"], r["protocol"], r["checkpoint"]): r for r in results["sources"]}
    assert {key[:3] for key in rows} == {
        (name, split, protocol)
        for split, protocol in (("evaluation", "zero-shot"), ("evaluation", "8-shot"), ("gate", "zero-shot"))
        for name in ("gsm8k", "math", "words")
        if (name, protocol) != ("words", "8-shot")
    }
    together = {(r["protocol"], r["checkpoint"]): r for r in results["results"]}
    for (protocol, checkpoint), row in together.items():
        parts = [r for key, r in rows.items() if key[1:] == ("evaluation", protocol, checkpoint)]
        assert (sum(r["n"] for r in parts), sum(r["correct"] for r in parts)) == (row["n"], row["correct"])
        assert row["macro"] == pytest.approx(sum(r["accuracy"] for r in parts) / len(parts))
    base, sft = (rows["words", "evaluation", "zero-shot", name] for name in ("base", "sft"))
    # Every third from 2 on: base has 2, 5, 8 right, SFT 5, 8, ... 23.
    assert (base["n"], base["correct"], sft["correct"], sft["discordant"]) == (13, 3, 7, [5, 1])
    assert sft["before"] == "base" and base["macro"] is None
    assert numbers["sft_zero_shot_on_words_accuracy"] == 7 / 13 and numbers["sft_zero_shot_on_words_gain"] == 4 / 13
    assert numbers["sft_gate_on_math_accuracy"] == rows["math", "gate", "zero-shot", "sft"]["accuracy"]
    assert numbers["grpo_zero_shot_macro_accuracy"] == together["zero-shot", "grpo"]["macro"]


def test_the_sources_change_nothing_of_all_problems_together(evaluations, tmp_path):
    before, alone = run(evaluations, tmp_path / "alone")
    assert alone["sources"] == [] and all(row["macro"] is None for row in alone["results"])
    assert not [name for name in before if "_on_" in name or "macro" in name]
    for path in evaluations.values():
        change(path, lambda item: item | {"source": "even" if int(item["id"][-1]) % 2 == 0 else "odd"})
    after, mixed = run(evaluations, tmp_path / "mixed")
    assert before.items() <= after.items() and mixed["tests"] == alone["tests"]
    for name in ("results", "gate"):
        assert [row | {"macro": None} for row in mixed[name]] == alone[name]
