"""Evaluation of a real tiny model: what is written, and how it goes on after a kill."""

import json

import pytest

from components.compare.compare import compare
from components.evaluate import evaluate as stage
from components.lib.answers.judging import Item, verdicts
from components.lib.generation.loading import load_tokenizer
from components.lib.generation.partial import Partial
from components.lib.model import files as model_files
from components.lib.recipe import recipes
from components.lib.recipe.schema import PROTOCOLS
from components.lib.recipe.settings import replace
from components.lib.reporting.measures import sampled
from tests.conftest import saved_item
from tests.evaluate.runs import SETTINGS, run


def test_every_protocol_in_one_go(data, tmp_path):
    settings = replace(SETTINGS, protocols=PROTOCOLS)
    numbers, items, summary = run(data, tmp_path / "out", settings)
    groups = (
        [("evaluation", "zero-shot")] * 10 + [("evaluation", "8-shot")] * 10 + [("evaluation", "8-shot-think")] * 10
    )
    assert [(i["split"], i["protocol"]) for i in items] == groups + [("gate", "zero-shot")] * 6
    assert all(set(item) == set(Item.__annotations__) for item in items)
    assert [i["id"] for i in items[:10]] == [f"evaluation/{k}" for k in range(10)], "the order of the file"
    assert len({i["prompt_sha256"] for i in items}) == 36
    assert all(1 <= i["tokens"] <= 24 and (i["finish_reason"] == "stop" or not i["correct"]) for i in items)
    assert [(g["split"], g["protocol"], g["n"]) for g in summary["results"]][-1] == ("gate", "zero-shot", 6)
    group = summary["results"][0]
    assert group["interval"][0] <= group["accuracy"] <= group["interval"][1]
    assert group["seconds"] > 0 and group["tokens_per_s"] > 0
    assert len(summary["model_sha256"]) == len(summary["template_sha256"]) == 64 and summary["seed"] == 0
    assert numbers["zero-shot/accuracy"] == group["accuracy"] and "gate/zero-shot/truncated" in numbers
    assert all(isinstance(value, float) for value in numbers.values())
    assert not (tmp_path / "out" / "partial.jsonl").exists()
    compare(evaluations={"base": tmp_path / "out"}, curves={}, out=tmp_path / "report", recipe=recipes.TINY)


def test_the_gate_problems_can_be_asked_with_examples_too(data, tmp_path):
    settings = replace(SETTINGS, protocols=("zero-shot",), gate_protocols=("zero-shot", "8-shot"))
    numbers, items, _ = run(data, tmp_path / "out", settings)
    asked = [(i["split"], i["protocol"]) for i in items if i["split"] == "gate"]
    assert asked == [("gate", "zero-shot")] * 6 + [("gate", "8-shot")] * 6 and "gate/8-shot/accuracy" in numbers
    compared = compare(evaluations={"base": tmp_path / "out"}, curves={}, out=tmp_path / "report", recipe=recipes.TINY)
    assert compared["base_gate_accuracy"] == numbers["gate/zero-shot/accuracy"]
    assert compared["base_gate_8_shot_accuracy"] == numbers["gate/8-shot/accuracy"]


def killed(data, out, monkeypatch, **others):
    """An evaluation that ends after some batches; returns its partial.jsonl, whose last line the kill has cut."""
    kept = Partial.add

    def add_then_die(self, rows):
        kept(self, rows)
        if len(self.rows) >= 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Partial, "add", add_then_die)
        run(data, out, **others)
    [partial] = out.parent.rglob("partial.jsonl")
    with partial.open("a") as file:
        file.write('{"key": "a line that the kill has cut')
    return partial


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_killed_evaluation_goes_on(data, tmp_path, monkeypatch, capsys, checkpoints):
    """With checkpoints in another directory for its output, as a new run or Pod has one; without in the same one."""
    _, whole, _ = run(data, tmp_path / "whole")
    place, again = (tmp_path / "checkpoints", "again") if checkpoints else (None, "out")
    partial = killed(data, tmp_path / "out", monkeypatch, checkpoints=place)
    finished = partial.read_text().count("\n")
    assert 8 <= finished < 26 and not (tmp_path / "out" / "items.jsonl").exists()
    capsys.readouterr()
    _, items, _ = run(data, tmp_path / again, checkpoints=place)
    printed = capsys.readouterr().out
    assert f"{finished} of 26 completions were there already" in printed
    assert f"{26 - finished} of {26 - finished} completions," in printed
    assert items == whole and not partial.exists()
    assert not checkpoints or list(place.iterdir()) == []


def test_what_another_evaluation_has_left_is_not_taken(data, tmp_path, monkeypatch, capsys):
    place = tmp_path / "checkpoints"
    left = killed(data, tmp_path / "out", monkeypatch, checkpoints=place).parent
    capsys.readouterr()
    for change in ({"settings": replace(SETTINGS, max_new_tokens=23)}, {"settings": replace(SETTINGS, problems=9)}):
        run(data, tmp_path / "other", checkpoints=place, **change)
        assert "already" not in capsys.readouterr().out and list(place.iterdir()) == [left]
    monkeypatch.setattr("components.lib.generation.partial.code_sha256", lambda *_: "another")
    run(data, tmp_path / "other", checkpoints=place)
    assert "already" not in capsys.readouterr().out and list(place.iterdir()) == [left]


def test_completions_stay_until_all_that_the_step_does_is_done(data, tmp_path, capsys):
    """Such as the champion's, whose own may be killed."""

    def die():
        raise KeyboardInterrupt

    place = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "out", checkpoints=place, after=die)
    numbers, _, _ = run(data, tmp_path / "out", checkpoints=place, after=lambda: {"champion/n": 1.0})
    assert "26 of 26 completions were there already" in capsys.readouterr().out and numbers["champion/n"] == 1.0


def test_other_settings_start_anew(data, tmp_path):
    tokenizer = load_tokenizer(stage.model_directory("tiny", "main"))
    keys = {}
    for name, fingerprint, seed, settings in (
        ("same", "f", 0, SETTINGS),
        ("other batches", "f", 0, replace(SETTINGS, batch_size=1, batch_tokens=4096)),
        ("greedy has no seed", "f", 1, replace(SETTINGS, protocols=("zero-shot",))),
        ("other weights", "g", 0, SETTINGS),
        ("longer", "f", 0, replace(SETTINGS, max_new_tokens=25)),
        ("other backend", "f", 0, replace(SETTINGS, backend="vllm")),
        ("drawn", "f", 0, replace(SETTINGS, temperature=1.0)),
        ("drawn otherwise", "f", 1, replace(SETTINGS, temperature=1.0)),
    ):
        keys[name] = stage.plan_requests(tokenizer, fingerprint, data, seed, settings)[0][0].key
    assert keys["same"] == keys["other batches"] == keys["greedy has no seed"]
    assert len(set(keys.values())) == 6


def test_samples_give_pass_and_majority(data, tmp_path):
    settings = replace(SETTINGS, protocols=("zero-shot",), temperature=1.0, samples=3, max_new_tokens=20)
    numbers, items, summary = run(data, tmp_path / "out", settings)
    assert len(items) == 3 * 16 and [i["sample"] for i in items[:4]] == [0, 1, 2, 0]
    assert len({i["completion"] for i in items}) > 16, "samples differ"
    group = summary["results"][0]
    assert group["n"] == 10 and group["pass@1"] == pytest.approx(group["accuracy"])
    assert group["pass@1"] <= group["pass@2"] <= group["pass@3"] and 0 <= group["maj@3"] <= 1
    assert "zero-shot/pass@2" in numbers


def test_majority_votes_only_with_whole_completions():
    right = [True, True, False, False, False]
    rows = [saved_item("base", "evaluation", "zero-shot", 1, ok, sample) for sample, ok in enumerate(right)]
    assert sampled(rows)["maj@5"] == 0.0
    for row in rows[2:4]:
        row["finish_reason"] = "length"
    assert sampled(rows)["maj@5"] == 1.0


@pytest.mark.parametrize(
    ("kind", "answers", "right", "expected"),
    [
        ("number", ["4", "5", "4"], [True, False, True], 1.0),
        ("text", ["New  York", "boston", "new york."], [True, False, True], 1.0),  # one vote each as they are written
        ("text", ["boston", "New York", "Boston"], [False, True, False], 0.0),
        ("math", ["1/2", "0.5", "3"], [True, True, False], 1.0),
        ("python:x.py", [None, None, "a"], [True, True, False], 0.0),  # without an answer there is no vote
        ("python:x.py", [None, None, None], [True, True, True], 0.0),
    ],
)
def test_votes_follow_the_kind(kind, answers, right, expected):
    rows = [
        saved_item("base", "evaluation", "zero-shot", 1, ok, sample) | {"answers": kind, "answer": answer}
        | {"finish_reason": "stop"}
        for sample, (ok, answer) in enumerate(zip(right, answers, strict=True))
    ]  # fmt: skip
    assert sampled(rows)["maj@3"] == expected
    assert sampled(rows)["pass@3"] == float(any(right))


@pytest.mark.parametrize(
    ("changes", "checkpoint", "words"),
    [
        ({"samples": 4}, "base", "set evaluate_temperature above 0"),
        ({}, "final", "checkpoint 'final' is not one of base, sft, grpo"),
    ],
)
def test_bad_settings_are_named_before_a_model_is_loaded(changes, checkpoint, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        stage.evaluate(
            model="nowhere/none", revision="main", checkpoint=checkpoint, data=tmp_path, out=tmp_path, checkpoints=None,
            seed=0, settings=replace(SETTINGS, **changes),
        )  # fmt: skip


def test_a_smaller_choice_is_part_of_a_larger_one(data):
    chosen = {limit: [row["id"] for row in stage.choose(data / "evaluation.jsonl", limit)] for limit in (3, 5, 0, 99)}
    assert len(chosen[3]) == 3 and set(chosen[3]) < set(chosen[5]) and len(chosen[0]) == len(chosen[99]) == 10
    assert chosen[5] == [i for i in chosen[0] if i in chosen[5]], "the order of the file stays"


def test_no_problems_is_an_error(data):
    (data / "gate.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"gate\.jsonl has no rows"):
        stage.choose(data / "gate.jsonl", 0)


def test_cut_off_is_never_right():
    text = "2+2=4\n</think>\n\n#### 4"
    whole, cut = (verdicts(text, {"gold": "4"}, prefilled=True, finish_reason=reason) for reason in ("stop", "length"))
    assert whole["correct"] and whole["answer"] == "4"
    assert not cut["correct"] and cut["lm_eval"]["strict"] and json.dumps(cut)


def test_model_hash_covers_weights_and_template(tmp_path):
    with pytest.raises(ValueError, match="holds no"):
        model_files.model_sha256(tmp_path)
    hashes = set()
    for name in ("model.safetensors", "chat_template.jinja", "config.json"):
        (tmp_path / name).write_text(name)
        hashes.add(model_files.model_sha256(tmp_path))
    assert len(hashes) == 3
