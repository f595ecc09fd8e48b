"""How a question is asked: which exemplars, of which kind, in which form."""

import random

import pytest

from components.compare.compare import compute
from components.compare.story import findings
from components.evaluate import evaluate as stage
from components.evaluate import protocols
from components.lib.files import read_json, read_jsonl, write_jsonl
from components.lib.generation import prompts
from components.lib.recipe import recipes
from components.lib.recipe.settings import replace
from tests.evaluate.runs import SETTINGS, mixed, problem, run, trace


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
    from components.lib.generation.loading import load_tokenizer

    tokenizer = load_tokenizer(stage.model_directory("tiny", "main"))
    shots = protocols.exemplars("8-shot-think", "number", data, [], seed=0)
    assert all("Reasoned" in answer for _, answer in shots), "traces with an empty block teach nothing"
    prompt = prompts.render(tokenizer, prompts.asking({"question": "How many?"}, shots))
    assert prompt.count("<think>\nReasoned") == 8
    assert prompts.render(tokenizer, prompts.asking({"question": "How many?"})).count("Reasoned") == 0


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
    compared = compute({"base": tmp_path / "out"}, {}, recipes.TINY)
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
