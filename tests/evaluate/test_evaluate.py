"""Evaluation of a real tiny model: what is written, how it goes on after a kill, and which exemplars it shows."""

import json
import random
import subprocess
import sys

import pytest

from components.compare.compare import compare, compute
from components.compare.story import findings
from components.evaluate import evaluate as stage
from components.evaluate import protocols
from components.evaluate.champion import measure_champion
from components.gate.gate import run_gate
from components.lib import models
from components.lib.answers.judging import Item, verdicts
from components.lib.files import read_json, read_jsonl, sha256, write_jsonl
from components.lib.generation import prompts
from components.lib.generation.partial import Partial
from components.lib.recipe import recipes
from components.lib.recipe.schema import PROTOCOLS
from components.lib.recipe.settings import replace
from components.lib.registry.store import open_store
from components.lib.reporting.measures import sampled
from tests.conftest import saved_item

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


@pytest.fixture
def data(tmp_path):
    """A standardized data set: 10 evaluation, 6 gate and 12 training problems, 24 traces of which 12 have reasoning."""
    for split, count in (("evaluation", 10), ("gate", 6), ("problems", 12)):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", [problem(k, split) for k in range(count)])
    rows = [problem(k, "problems") for k in range(12)]
    thought = [trace(row, f"Reasoned: {row['solution']}", row["gold"]) for row in rows]
    write_jsonl(tmp_path / "data" / "sft.jsonl", [*thought, *(trace(row, "", row["gold"]) for row in rows)])
    return tmp_path / "data"


def run(data, out, settings=SETTINGS, model="tiny", checkpoint="base", seed=0, checkpoints=None, **others):
    pytest.importorskip("torch", reason="needs torch: no model is evaluated")
    numbers = stage.evaluate(
        model=model, revision="main", checkpoint=checkpoint, data=data, out=out, checkpoints=checkpoints, seed=seed,
        settings=settings, **others,
    )  # fmt: skip
    return numbers, list(read_jsonl(out / "items.jsonl")), read_json(out / "summary.json")


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
    compare(evaluations={"base": tmp_path / "out"}, curves={}, out=tmp_path / "report", settings=recipes.TINY.compare)


def test_the_gate_problems_can_be_asked_with_examples_too(data, tmp_path):
    settings = replace(SETTINGS, protocols=("zero-shot",), gate_protocols=("zero-shot", "8-shot"))
    numbers, items, _ = run(data, tmp_path / "out", settings)
    asked = [(i["split"], i["protocol"]) for i in items if i["split"] == "gate"]
    assert asked == [("gate", "zero-shot")] * 6 + [("gate", "8-shot")] * 6 and "gate/8-shot/accuracy" in numbers
    compared = compare(
        evaluations={"base": tmp_path / "out"}, curves={}, out=tmp_path / "report", settings=recipes.TINY.compare
    )
    assert compared["base_gate_accuracy"] == numbers["gate/zero-shot/accuracy"]
    assert compared["base_gate_8_shot_accuracy"] == numbers["gate/8-shot/accuracy"]


@pytest.fixture
def registry(data, tmp_path):
    """A registry whose champion is the tiny model, its kept answers being to the gate problems of `data`."""
    store = open_store(str(tmp_path / "registry"))
    store.put_tree("models/v1", stage.model_directory("tiny", "main"))
    run(data, tmp_path / "kept")
    store.put_file("kept.jsonl", tmp_path / "kept" / "items.jsonl", sha256(tmp_path / "kept" / "items.jsonl"))
    store.write_json("champion.json", {"version": "v1", "items": "kept.jsonl"})
    return store


def measured(store, data, candidate, settings=SETTINGS, version="v1"):
    return measure_champion(
        version=version, registry=store.url(""), candidate=candidate, data=data, checkpoints=None, seed=0,
        settings=settings,
    )  # fmt: skip


def test_a_champion_with_the_same_gate_problems_is_not_run_again(data, registry, tmp_path, monkeypatch, capsys):
    run(data, tmp_path / "grpo", checkpoint="grpo")
    from components.lib.generation import backends

    monkeypatch.setattr(backends, "open_backend", None)  # no model is loaded
    assert measured(registry, data, tmp_path / "grpo") == {} and not (tmp_path / "grpo" / "champion").exists()
    assert "champion v1 has answered the same gate problems already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "settings", "why"),
    [
        ("a new problem", {}, "1 problems are in one of them only, such as gate/6"),
        ("a longer limit", {"max_new_tokens": 25}, "6 of 6 ways of sampling differ"),
        ("another system prompt", {}, "6 of 6 prompts differ"),
    ],
)
def test_a_champion_with_other_problems_prompts_or_sampling_is_measured_anew(
    data, registry, tmp_path, monkeypatch, capsys, change, settings, why
):
    """And the gate then pairs it with the candidate, here the very same model."""
    if change == "a new problem":
        write_jsonl(data / "gate.jsonl", [problem(k, "gate") for k in range(7)])
    if change == "another system prompt":
        monkeypatch.setattr(prompts, "system_prompt", lambda form, kind: "Think, then write #### <number>")
    settings = replace(SETTINGS, **settings)
    run(data, tmp_path / "base", settings)
    run(data, tmp_path / "grpo", settings, checkpoint="grpo")
    numbers = measured(registry, data, tmp_path / "grpo", settings)
    assert f"champion v1 is measured anew: {why}" in capsys.readouterr().out
    asked = [(i["checkpoint"], i["split"]) for i in read_jsonl(tmp_path / "grpo" / "champion" / "items.jsonl")]
    assert asked == [("champion", "gate")] * (7 if change == "a new problem" else 6)
    assert set(numbers) >= {"champion/gate/zero-shot/accuracy"} and "champion/zero-shot/accuracy" not in numbers
    decision = run_gate(
        base=tmp_path / "base", candidate=tmp_path / "grpo", registry=registry.url(""),
        settings=recipes.TINY.gate, decision_out=tmp_path / "decision.json",
    )  # fmt: skip
    assert decision.numbers["champion_difference"] == 0.0 and not decision.promote


def test_the_champion_can_be_measured_by_hand(data, registry, tmp_path):
    run(data, tmp_path / "grpo", checkpoint="grpo")
    command = [sys.executable, "-m", "components.evaluate.champion", "--version", "v0", "--registry", registry.url("")]
    command += ["--candidate", str(tmp_path / "grpo"), "--data", str(data), "--seed", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "v0 is not the champion of" in done.stderr


def test_a_champion_that_has_changed_since_preflight_is_named(data, registry, tmp_path):
    with pytest.raises(ValueError, match=r"v0 is not the champion of .*registry any more; run again from preflight"):
        measured(registry, data, tmp_path, version="v0")


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
    tokenizer = pytest.importorskip("components.lib.generation.backends").load_tokenizer(
        stage.model_directory("tiny", "main")
    )
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


def test_exemplars_are_never_asked(data):
    taken = [problem(k, "problems")["question"].upper().replace(" ", "  ") for k in range(3)]
    for protocol in ("8-shot", "8-shot-think"):
        shots = protocols.exemplars(protocol, "number", data, taken, seed=0)
        assert len(shots) == 8 and not {q.upper() for q, _ in shots} & {" ".join(t.split()) for t in taken}
    with pytest.raises(
        protocols.TooFew, match=r"of the 8 exemplars .* number that it needs, problems.jsonl has 7 whose"
    ):
        protocols.exemplars("8-shot", "number", data, [problem(k, "problems")["question"] for k in range(5)], seed=0)


def test_exemplars_are_fixed_by_the_seed(data):
    first, again, other = (protocols.exemplars("8-shot", "number", data, [], seed) for seed in (0, 0, 1))
    assert first == again != other
    assert all(answer.endswith(f"\n#### {eval_gold(answer)}") for _, answer in first)


def eval_gold(answer):
    return answer.partition("=")[2].partition("\n")[0]


def test_exemplars_keep_their_reasoning_in_the_prompt(data):
    pytest.importorskip("torch", reason="needs transformers: no prompt is rendered")
    from components.lib.generation import backends

    tokenizer = backends.load_tokenizer(stage.model_directory("tiny", "main"))
    shots = protocols.exemplars("8-shot-think", "number", data, [], seed=0)
    assert all("Reasoned" in answer for _, answer in shots), "traces with an empty block teach nothing"
    prompt = prompts.render(tokenizer, prompts.asking({"question": "How many?"}, shots))
    assert prompt.count("<think>\nReasoned") == 8
    assert prompts.render(tokenizer, prompts.asking({"question": "How many?"})).count("Reasoned") == 0


def mixed(data, training):
    """Four evaluation problems of mathematics beside the ten with numbers, and so many to train on."""
    for split, count in (("evaluation", 4), ("problems", training)):
        rows = [problem(20 + k, split) | {"source": "math", "answers": "math"} for k in range(count)]
        write_jsonl(data / f"{split}.jsonl", [*read_jsonl(data / f"{split}.jsonl"), *rows])


def test_exemplars_are_of_the_kind_of_the_question(data):
    mixed(data, training=9)
    for kind, others in (("number", range(20)), ("math", range(20, 40))):
        questions = {problem(k, "problems")["question"] for k in others}
        shots = protocols.exemplars("8-shot", kind, data, [], seed=0)
        assert len(shots) == 8 and {question for question, _ in shots} <= questions
    with pytest.raises(protocols.TooFew, match=r"of the kind math that it needs, sft\.jsonl has 0 whose"):
        protocols.exemplars("8-shot-think", "math", data, [], seed=0)


@pytest.mark.parametrize(("form", "last"), [("marker", "#### 3"), ("boxed", "\\boxed{3}")])
def test_exemplars_end_in_the_form_of_the_run(form, last, tmp_path):
    rows = [problem(k, "problems") | {"form": form, "gold": "3", "solution": "" if k else "why"} for k in range(8)]
    write_jsonl(tmp_path / "problems.jsonl", rows)
    shots = protocols.exemplars("8-shot", "number", tmp_path, [], seed=0)
    assert {answer for _, answer in shots} == {last, f"why\n{last}"}


def test_a_protocol_without_exemplars_is_left_out_for_that_kind_and_that_is_said(data, tmp_path, capsys):
    mixed(data, training=7)
    settings = replace(SETTINGS, protocols=("zero-shot", "8-shot"), gate_problems=2)
    numbers, *_ = run(data, tmp_path / "out", settings)
    asked = [(i["protocol"], i["source"]) for i in read_jsonl(tmp_path / "out" / "items.jsonl")]
    assert asked.count(("zero-shot", "math")) == 4 and asked.count(("8-shot", "math")) == 0
    assert asked.count(("8-shot", "evaluation")) == 10
    summary = read_json(tmp_path / "out" / "summary.json")
    (said,) = summary["left_out"]
    assert said == (
        "8-shot is left out for math (evaluation): of the 8 exemplars with answers of the kind math that it needs, "
        "problems.jsonl has 7 whose question is not evaluated"
    )
    assert said in capsys.readouterr().out
    zero, few, gate = summary["results"]
    assert (zero["n"], few["n"]) == (14, 10) and "sources" not in few and "macro" not in gate
    assert {name: found["n"] for name, found in zero["sources"].items()} == {"evaluation": 10, "math": 4}
    assert numbers["zero-shot/macro"] == zero["macro"]
    compared = compute({"base": tmp_path / "out"}, {}, replace(recipes.TINY.compare, bootstrap_samples=100))
    assert said in findings(compared) and {row["source"] for row in compared["sources"]} == {"evaluation", "math"}


def test_nothing_left_to_ask_is_an_error(data):
    (data / "problems.jsonl").write_text("")
    with pytest.raises(ValueError, match="nothing is left to ask: 8-shot is left out for .*; add zero-shot to evalu"):
        stage.plan_requests(None, "", data, 0, replace(SETTINGS, protocols=("8-shot",), gate_protocols=()))


def test_long_traces_are_not_shown(tmp_path):
    rows = [problem(k, "problems") for k in range(40)]
    lengths = list(range(40))
    random.Random(0).shuffle(lengths)
    traces = [trace(row, "word " * (1 + 50 * n), row["gold"]) for row, n in zip(rows, lengths, strict=True)]
    write_jsonl(tmp_path / "sft.jsonl", traces)
    shots = protocols.exemplars("8-shot-think", "number", tmp_path, [], seed=0)
    assert max(answer.count("word") for _, answer in shots) <= 1 + 50 * 20


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
        models.model_sha256(tmp_path)
    hashes = set()
    for name in ("model.safetensors", "chat_template.jinja", "config.json"):
        (tmp_path / name).write_text(name)
        hashes.add(models.model_sha256(tmp_path))
    assert len(hashes) == 3
