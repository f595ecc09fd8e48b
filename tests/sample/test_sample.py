"""The step `sample`: what it asks, what it writes, and what `standardize` keeps of it."""

import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest

from components.lib.answers.judging import verdicts
from components.lib.data.sources import with_sampled
from components.lib.files import explained, read_jsonl
from components.lib.generation import backends, prompts
from components.lib.generation.backends import Completion
from components.lib.recipe import recipes
from components.lib.recipe.schema import Source
from components.lib.recipe.settings import replace
from components.lib.registry.plan import Plan
from components.sample.sample import sample, training_problems
from components.standardize.standardize import standardize
from tests.fixtures.rows import evaluation, good, write

SETTINGS = replace(recipes.TINY.sample, problems=99, per_problem=6, batch_size=4)
SPLIT = replace(recipes.TINY.standardize, plateau_share=0.2, gate_share=0.2)
# What a model writes after a prompt that has opened the think block, and what becomes of it in standardize.
ENDINGS = {
    "kept": ("1+1=2\n</think>\n\n#### {gold}", "stop"),
    "kept, marked": ("2=1+1\n</think>\n\nIt is {gold}.", "stop"),
    "contradicts-gold": ("1+1=3\n</think>\n\n#### 1{gold}", "stop"),
    "no-answer": ("1+1=2\n</think>\n\n", "stop"),
    "unclosed-think": ("1+1=2\n#### {gold}", "stop"),
    "cut off": ("1+1=4\n</think>\n\n#### {gold}", "length"),
}


@pytest.fixture
def plan(tmp_path):
    """30 problems, one of them from the evaluation set, and a listed source of conversations that is not there."""
    shared = evaluation(6)
    problems = write(tmp_path / "problems.jsonl", [*good("gsm8k", 29), shared[0]])
    return Plan(
        model="tiny", revision="main", seed=0,
        sources=(
            Source(path=str(tmp_path / "missing.jsonl"), adapter="chat"),
            Source(path=problems, name="problems", adapter="gsm8k", weight=2.0),
        ),
        evaluation=(Source(path=write(tmp_path / "test.jsonl", shared), adapter="gsm8k"),),
    )  # fmt: skip


def test_problems_of_a_source_for_both_are_asked_too(plan, tmp_path):
    rows = [{"question": row["question"], "reasoning": "So.", "gold": n} for n, row in enumerate(good("gsm8k", 9))]
    source = Source(path=write(tmp_path / "both.jsonl", rows), name="both")
    found = training_problems(replace(plan, sources=(source,)), recipes.QWEN.standardize, tmp_path)
    assert {row["source"] for row in found} == {"both"} and len(found) > 5


@pytest.fixture
def written(monkeypatch, plan):
    """Instead of a model: the solutions of ENDINGS in turn for each problem; gives the prompts that were asked."""
    golds = {row["question"]: row["answer"].split("#### ")[1] for row in read_jsonl(Path(plan.sources[1].path))}
    asked = []

    class Written:
        def __init__(self, name, directory, sampling):
            assert sampling.temperature > 0

        def batches(self, texts, asked_, seeds):
            assert len(set(seeds)) == len(seeds) == len(texts) == len(asked_)
            for i, text in enumerate(texts):
                asked.append(text)
                gold = next(gold for question, gold in golds.items() if question in text)
                ending, reason = list(ENDINGS.values())[i % len(ENDINGS)]
                yield [(i, Completion(ending.format(gold=gold), 7, reason, False))]

    monkeypatch.setattr(backends, "open_backend", Written)
    pytest.importorskip("transformers", reason="needs transformers: no prompt is rendered")
    return asked


def standardized(plan, samples, out, *sources):
    """Files of standardize over the plan's problems, `sources` and the samples."""
    whole = with_sampled(replace(plan, sources=(*plan.sources[1:], *sources)), samples)
    standardize(plan=whole, settings=SPLIT, out=out)
    return {path.stem: list(read_jsonl(path)) for path in out.glob("*.jsonl")}


def drawn(plan, settings, out, checkpoints=None):
    return sample(plan=plan, split=SPLIT, settings=settings, out=out, checkpoints=checkpoints)


def test_standardize_keeps_what_is_right_and_says_why_not(plan, written, tmp_path):
    numbers = drawn(plan, SETTINGS, tmp_path / "samples")
    rows = list(read_jsonl(tmp_path / "samples" / "samples.jsonl"))
    files = standardized(plan, tmp_path / "samples", tmp_path / "out")
    asked = {row["question"]: row["gold"] for row in files["problems"]}
    assert 10 < len(asked) < 29 and {row["prompt"]: row["gold"] for row in rows} == asked
    assert [row["question"] for row in files["problems"]].count(rows[0]["prompt"]) == 2, "weight 2, but asked once"
    n = len(asked)
    assert numbers.pop("seconds") >= 0
    assert numbers == {
        "problems": n, "asked": 6 * n, "written": 5 * n, "truncated": n, "right": n, "well_formed": 2 * n,
        "right_unmarked": n, "tokens": 42 * n,
    }  # fmt: skip
    assert all(row["completion"].startswith(("<think>\n1+1=", "<think>\n2=1+1\n")) for row in rows)
    assert {row["messages"][1]["content"]: row["gold"] for row in files["sft"]} == asked
    for row in files["sft"]:
        assert row["source"] == "sampled" and row["licence"] == "unknown" and row["revision"].startswith("sha256:")
    texts = Counter(row["messages"][2]["content"].replace(f"#### {row['gold']}", "####") for row in files["sft"])
    assert texts["<think>\n1+1=2\n</think>\n\n####"] == n and texts.total() == 2 * n
    assert all(text.endswith("\n\n####") for text in texts)
    refused = Counter(row["reason"] for row in files["rejects"] if row["source"] == "sampled")
    assert refused == {"contradicts-gold": n, "no-answer": n, "unclosed-think": n}


def test_held_out_evaluation_and_refused_problems_are_never_asked(plan, written, tmp_path):
    drawn(plan, SETTINGS, tmp_path / "samples")
    files = standardized(plan, tmp_path / "samples", tmp_path / "out")
    never = [row["question"] for name in ("evaluation", "plateau", "gate") for row in files[name]]
    never += [row["row"]["question"] for row in files["rejects"] if row["source"] == "problems"]
    assert files["plateau"] and files["gate"] and len(never) > 6
    assert not [question for question in never if any(question in prompt for prompt in written)]


def test_a_smaller_choice_is_part_of_a_larger_one(plan, written, tmp_path):
    chosen = []
    for count in (3, 6):
        settings = replace(SETTINGS, problems=count, per_problem=1)  # the first ending: nothing is cut off
        assert drawn(plan, settings, tmp_path / str(count))["problems"] == count
        chosen.append({row["id"] for row in read_jsonl(tmp_path / str(count) / "samples.jsonl")})
    assert chosen[0] < chosen[1]


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_killed_run_goes_on(plan, written, tmp_path, monkeypatch, checkpoints):
    """With checkpoints in another directory for its output, as a new run or Pod has one; without in the same one."""
    settings, batches = replace(SETTINGS, problems=4), backends.open_backend.batches
    place, again = (tmp_path / "checkpoints", "again") if checkpoints else (None, "samples")

    def die(self, texts, asked, seeds):
        for number, batch in enumerate(batches(self, texts, asked, seeds)):
            if number == 7:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(backends.open_backend, "batches", die)
    with pytest.raises(KeyboardInterrupt):
        drawn(plan, settings, tmp_path / "samples", place)
    monkeypatch.setattr(backends.open_backend, "batches", batches)
    written.clear()
    assert drawn(plan, settings, tmp_path / again, place)["asked"] == 24
    assert len(written) == 17 and [path.name for path in (tmp_path / again).iterdir()] == ["samples.jsonl"]
    assert not checkpoints or list(place.iterdir()) == []


@pytest.mark.fault("the volume of the checkpoints is full in the midst of a sampling")
def test_a_full_volume_loses_no_solution_that_was_written(plan, written, tmp_path, volume, seen):
    filler = volume.fill(left=3 * 4096)  # about.json, the lock, and one page of solutions
    with pytest.raises(OSError, match="No space left on device") as raised:
        drawn(plan, SETTINGS, tmp_path / "samples", volume.path)
    said = explained(raised.value)
    assert "partial.jsonl'; free some space there" in said
    filler.unlink()
    written.clear()
    [partial] = volume.path.rglob("partial.jsonl")
    kept = partial.read_text().count("\n")
    assert drawn(plan, SETTINGS, tmp_path / "samples", volume.path)["asked"] == len(written) + kept and kept
    seen(said)


@pytest.mark.fault("the volume of the checkpoints, or of the output, is read-only in a sampling")
@pytest.mark.parametrize("place", ["checkpoints", "out"])
def test_a_read_only_volume_is_named(plan, written, tmp_path, volume, seen, place):
    volume.remount("ro")
    places = {"checkpoints": tmp_path / "checkpoints", "out": tmp_path / "out"} | {place: volume.path / place}
    with pytest.raises(OSError, match="Read-only file system") as raised:
        drawn(plan, SETTINGS, **places)
    said = explained(raised.value)
    assert str(volume.path) in said and "make it writable" in said
    seen(said)


@pytest.mark.fault("a symbolic link of a sampling points nowhere")
def test_a_link_that_points_nowhere_is_named(plan, written, tmp_path, seen):
    (tmp_path / "checkpoints").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError) as raised:
        drawn(plan, SETTINGS, tmp_path / "samples", tmp_path / "checkpoints")
    assert f"{tmp_path / 'checkpoints'} is a symbolic link" in explained(raised.value)
    seen(explained(raised.value))


def test_useless_samples_end_a_run_only_if_there_is_nothing_else(plan, tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "samples.jsonl").write_text("")
    with pytest.raises(ValueError, match="no SFT conversation is left"):
        standardized(plan, tmp_path / "samples", tmp_path / "out")
    traces = Source(path=write(tmp_path / "traces.jsonl", good("chat", 4)), adapter="chat")
    assert len(standardized(plan, tmp_path / "samples", tmp_path / "out", traces)["sft"]) == 4
    question = good("gsm8k", 1)[0]["question"]
    write(tmp_path / "samples" / "samples.jsonl", [{"prompt": question, "completion": "It is 4.", "gold": "4"}])
    files = standardized(plan, tmp_path / "samples", tmp_path / "out", traces)
    assert [row["reason"] for row in files["rejects"] if row["source"] == "sampled"] == ["no-think"]


def test_the_tiny_base_samples_and_all_of_it_is_accounted_for(plan, tmp_path):
    pytest.importorskip("torch", reason="needs torch: nothing is sampled")
    settings = replace(SETTINGS, problems=3, per_problem=3, max_new_tokens=32)
    found = []
    for name in ("first", "again"):
        numbers = drawn(plan, settings, tmp_path / name)
        found.append((tmp_path / name / "samples.jsonl").read_text())
        assert numbers["asked"] == 9 == numbers["written"] + numbers["truncated"] and numbers["tokens"] > 9
    assert found[0] == found[1]
    rows = [json.loads(line) for line in found[0].splitlines()]
    assert len({row["completion"] for row in rows}) == len(rows), "each is drawn anew"
    assert all(row["completion"].startswith(prompts.OPEN) and row["tokens"] <= 32 for row in rows)
    traces = Source(path=write(tmp_path / "traces.jsonl", good("chat", 4)), adapter="chat")
    files = standardized(plan, tmp_path / "first", tmp_path / "out", traces)
    kept = [row for row in files["sft"] if row["source"] == "sampled"]
    refused = [row for row in files["rejects"] if row["source"] == "sampled"]
    assert len(kept) + len(refused) == len(rows) and all(row["reason"] for row in refused)
    for row in kept:
        text = row["messages"][2]["content"]
        assert verdicts(text, row, prefilled=False, finish_reason="stop")["correct"]


def test_the_command_line_wants_a_number_of_problems(plan, tmp_path, monkeypatch, capsys):
    (tmp_path / "plan.json").write_text(plan.text())
    flags = ["--plan", str(tmp_path / "plan.json"), "--out", str(tmp_path / "samples")]
    monkeypatch.setattr(sys, "argv", ["sample", *flags])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("components.sample", run_name="__main__")
    assert capsys.readouterr().err.startswith("components.sample: sample_problems is 0; say how many problems")
