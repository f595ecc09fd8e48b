"""A checker of the user's own through the real pieces: its file, standardize, the reward, and an evaluation."""

import json

import pytest

from components.lib.answers import checker
from components.lib.answers.judging import champion_mismatch, read_items, rejudged, verdicts
from components.lib.answers.kinds import Question, judge
from components.lib.data.trial import plain_row
from components.lib.files import read_json, read_jsonl, write_jsonl
from components.lib.recipe.checkers import packed, short_hash, with_code
from components.lib.recipe.recipes import TINY
from components.lib.recipe.schema import Source
from components.lib.recipe.settings import replace
from components.lib.registry.plan import Plan
from components.standardize.standardize import standardize
from tests.fixtures.rows import SETTINGS, read, reasons, write

NEAR = """
def check(completion, row):
    said = completion.rpartition("#### ")[2]
    if not completion.startswith("<think>") or not said.isdecimal():
        return {"score": 0.0}
    score = max(0.0, 1 - abs(int(said) - int(row["gold"])) / row["tolerance"])
    return {"score": score, "right": score >= 0.5, "answer": said}
"""


@pytest.fixture(autouse=True)
def forgotten():
    """No process is left, and no count."""
    yield
    checker.end()


def problems(start, stop):
    return [
        {"question": f"How many steps are there from door {n} to the gate behind the house of number {n}?",
         "gold": str(n + 10), "solution": f"It is ten more than {n}.", "tolerance": 4}
        for n in range(start, stop)
    ]  # fmt: skip


def plan_of(tmp_path, code, train=(0, 40), test=(40, 48), *, traces=()):
    """The plan of two files of problems, and one of traces if there are any, judged by `code`."""
    tmp_path.joinpath("near.py").write_text(code)
    own = {"adapter": "gsm8k", "answers": f"python:{tmp_path / 'near.py'}"}
    sources = [Source(path=write(tmp_path / "train.jsonl", problems(*train)), name="train", **own)]
    if traces:
        sources.append(Source(path=write(tmp_path / "sft.jsonl", traces), name="sft", adapter="prompt-completion"))
    evaluation = (Source(path=write(tmp_path / "test.jsonl", problems(*test)), name="test", **own),)
    recipe = with_code(replace(TINY, sources=tuple(sources), evaluation=evaluation))
    return Plan(
        model="", revision="main", sources=recipe.sources, evaluation=recipe.evaluation, seed=0,
        checkers=recipe.checkers,
    )  # fmt: skip


def standardized(tmp_path, code, **more):
    standardize(plan=plan_of(tmp_path, code, **more), settings=SETTINGS, out=tmp_path / "out")
    return read(tmp_path / "out")


def test_a_problem_carries_its_row_and_the_hash_and_the_code_lies_beside_it(tmp_path, capsys):
    found = standardized(tmp_path, NEAR)
    row = found["problems"][0]
    assert (row["answers"], row["checker"], row["form"]) == ("python:near.py", short_hash(NEAR), "marker")
    assert row["row"] == problems(0, 40)[row["index"]]
    assert (tmp_path / "out" / "checkers" / f"{short_hash(NEAR)}.py").read_text() == NEAR
    checker.end()
    checker.install(tmp_path / "out")
    gold, question = int(row["gold"]), Question.of(row, prefilled=True)
    for said, score, right in ((gold, 1.0, True), (gold + 1, 0.75, True), (gold + 3, 0.25, False), ("no", 0.0, False)):
        judged = judge(f"I count.</think>\n#### {said}", question)
        assert (judged.score, judged.correct) == (score, right)
        assert judged.think_ok and judged.text == str(said)
    assert not judge("#### 1", Question.of(row, prefilled=False)).score, "it has no opening tag"
    notes = {s["name"]: s["notes"] for s in read_json(tmp_path / "out" / "summary.json")["sources"]}
    assert notes["train"]["checker tried: its own gold right"] == 32
    assert "AGREES" not in capsys.readouterr().out


def test_other_code_makes_other_rows(tmp_path):
    one = standardized(tmp_path, NEAR)["problems"][0]
    other = standardized(tmp_path, NEAR + "\n")["problems"][0]
    assert one["id"] == other["id"] and one["hash"] != other["hash"] and one["checker"] != other["checker"]


def test_a_trace_is_kept_where_the_checker_finds_it_right(tmp_path):
    asked = problems(0, 20)
    traces = [
        {"prompt": row["question"], "completion": f"<think>{row['solution']}</think>#### {int(row['gold']) + off}"}
        for row, off in zip(asked, [0, 1, 2, 3] * 5, strict=True)
    ]
    found = standardized(tmp_path, NEAR, train=(0, 20), traces=traces)
    refused = reasons(found, "sft")
    assert {index: reason for index, reason in refused.items() if index % 4 == 3}.items() >= {
        3: "contradicts-gold"
    }.items()
    kept = {row["index"]: row["messages"][2]["content"] for row in found["sft"]}
    assert kept and not {index for index in kept if index % 4 == 3}
    assert all(text.endswith(f"#### {index + 10 + index % 4}") for index, text in kept.items())


def test_a_problem_may_have_no_gold(tmp_path):
    code = "def check(completion, row):\n    assert row['gold'] == ''\n    return row['word'] in completion\n"
    plan = plan_of(tmp_path, code)
    rows = [
        {"question": row["question"], "word": "ten", "gold": [None, " "][n % 2]}
        for n, row in enumerate(problems(0, 40))
    ]
    source = replace(plan.sources[0], path=write(tmp_path / "open.jsonl", rows), adapter="problem")
    del rows[0]["gold"]
    test = [{"question": row["question"], "word": "ten"} for row in problems(40, 48)]
    evaluation = replace(plan.evaluation[0], path=write(tmp_path / "open-test.jsonl", test), adapter="problem")
    plan = replace(plan, sources=(source,), evaluation=(evaluation,))
    standardize(plan=plan, settings=SETTINGS, out=tmp_path / "out")
    found = read(tmp_path / "out")
    assert len(found["problems"]) > 30 and len(found["evaluation"]) == 8 and not found["rejects"]
    assert {row["gold"] for name in ("problems", "evaluation") for row in found[name]} == {""}
    assert judge("<think>x</think>It is ten.", Question.of(found["problems"][0], prefilled=False)).correct


FAULTS = {
    "always agrees": (
        "def check(completion, row):\n    return True\n",
        "ALWAYS AGREES: it calls each of 32 golds of other",
    ),
    "never agrees": ("def check(completion, row):\n    return 0.9\n", "NEVER AGREES: it calls each of 32 golds wrong"),
}


@pytest.mark.fault("a checker of the user's own cannot tell right from wrong")
@pytest.mark.parametrize("what", FAULTS)
def test_a_checker_that_cannot_tell_is_named_aloud(what, tmp_path, capsys, seen):
    code, said = FAULTS[what]
    standardized(tmp_path, code)
    out = capsys.readouterr().out
    assert f"standardize: train: python:near.py {said}" in out
    assert f"THE CHECKER {what.upper()}" in (tmp_path / "out" / "summary.md").read_text()
    line = next(line for line in out.splitlines() if said in line)
    seen(line, fault=f"a checker of the user's own {what}")


@pytest.mark.fault("a checker of the user's own raises on every row")
def test_a_checker_that_always_fails_ends_standardize(tmp_path, seen):
    with pytest.raises(ValueError, match=r"checker near\.py failed on 20 of 20 answers.*KeyError: 'nothing'") as error:
        standardized(tmp_path, "def check(completion, row):\n    return row['nothing']\n", test=(40, 70))
    seen(str(error.value))


def test_what_was_cut_off_is_nothing_without_asking(tmp_path):
    row = standardized(tmp_path, "def check(completion, row):\n    return True\n")["problems"][0]
    asked = checker.counts()["checker_asked"]
    cut = verdicts("I count.</think>\n#### 1", row, prefilled=True, finish_reason="length")
    assert (cut["correct"], cut["answer"], cut["unparsed"]) == (False, None, True)
    rewards = pytest.importorskip("components.grpo.rewards")
    question = Question.of(row, prefilled=True)
    assert rewards.correctness(rewards.judgements(["x</think>y"], [question], [False])) == [0.0]
    assert checker.counts()["checker_asked"] == asked
    assert verdicts("I count.</think>\n#### 1", row, prefilled=True, finish_reason="stop")["correct"]


def test_reward_evaluation_and_gate_have_its_verdicts(tmp_path):
    """With the tiny model, which answers some problem of its own kind."""
    pytest.importorskip("torch", reason="needs torch: no model is evaluated")
    from components.evaluate.evaluate import evaluate
    from components.lib.tiny.problems import rows

    code = (
        "RIGHT = 0.5\n\ndef check(completion, row):\n    assert set(row) == {'question', 'answer', 'gold'}\n"
        "    return {'score': 0.75, 'answer': 'odd'} if len(completion) % 2 else 0.25\n"
    )
    plan = plan_of(tmp_path, code)
    made = {"sources": [row for row, _ in zip(rows("problems", 0), range(40), strict=False)],
            "evaluation": [row for row, _ in zip(rows("evaluation", 0), range(8), strict=False)]}  # fmt: skip
    parts = {
        name: (replace(getattr(plan, name)[0], path=write(tmp_path / f"{name}.jsonl", found)),)
        for name, found in made.items()
    }
    standardize(plan=replace(plan, **parts), settings=replace(SETTINGS, gate_share=0.3), out=tmp_path / "out")
    checker.end()
    settings = replace(TINY.evaluate, protocols=("zero-shot",), max_new_tokens=32)
    numbers = evaluate(
        model="tiny", revision="main", checkpoint="base", data=tmp_path / "out", out=tmp_path / "base",
        checkpoints=None, seed=0, settings=settings,
    )  # fmt: skip
    items = list(read_jsonl(tmp_path / "base" / "items.jsonl"))
    assert {item["answers"] for item in items} == {"python:near.py"} and {i["checker"] for i in items} == {
        short_hash(code)
    }
    whole = [item for item in items if item["finish_reason"] == "stop"]
    assert whole and numbers["checker_asked"] <= len(whole) and numbers["checker_failed"] == 0
    for item in items:
        right = item["finish_reason"] == "stop" and len("<think>" * item["prefilled"] + item["completion"]) % 2 == 1
        assert item["correct"] == right and (item["answer"] == "odd") == right
    rewards = pytest.importorskip("components.grpo.rewards")
    by_id = {
        row["id"]: row for name in ("evaluation", "gate") for row in read_jsonl(tmp_path / "out" / f"{name}.jsonl")
    }
    questions = [Question.of(by_id[item["id"]], prefilled=item["prefilled"]) for item in whole]
    paid = rewards.correctness(
        rewards.judgements([item["completion"] for item in whole], questions, [True] * len(whole))
    )
    assert paid == [0.75 if item["correct"] else 0.25 for item in whole]

    checker.end()  # as in the gate, which has no code
    kept = read_items(tmp_path / "base")
    assert rejudged(kept) == kept
    assert champion_mismatch(tmp_path / "base", tmp_path / "base") == ""
    other = [item | {"checker": "0" * 16} for item in items]
    write_jsonl(tmp_path / "other" / "items.jsonl", other)
    assert champion_mismatch(tmp_path / "base", tmp_path / "other") == f"{len(kept)} of {len(kept)} checkers differ"


def test_lines_are_scored_by_it(tmp_path, capsys):
    from components.lib.answers.score import score_file

    (tmp_path / "near.py").write_text(NEAR)
    answers = f"python:{tmp_path / 'near.py'}"
    lines = [
        {"completion": "x</think>#### 11", "prefilled": True, "gold": "10", "tolerance": 4},
        {"completion": "<think>x</think>#### 10", "gold": 10, "tolerance": 2, "answers": "number"},
        {"completion": "<think>x</think>#### 10", "gold": "12", "tolerance": 0, "answers": "python:near.py"},
    ]
    write_jsonl(tmp_path / "in.jsonl", lines)
    score_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", answers)
    scored = list(read_jsonl(tmp_path / "out.jsonl"))
    assert [row["correct"] for row in scored] == [True, True, False]
    assert [row.get("score") for row in scored] == [0.75, None, 0.0]
    err = capsys.readouterr().err
    assert "failure 1 (33.3%)" in err
    with pytest.raises(ValueError, match="in.jsonl:3: answers 'python:near.py': the command must name the checker"):
        score_file(tmp_path / "in.jsonl", None)
    with pytest.raises(ValueError, match="--answers other is no kind"):
        score_file(tmp_path / "in.jsonl", None, "other")
    (tmp_path / "open.jsonl").write_text(json.dumps({"completion": "y"}) + "\n")
    score_file(tmp_path / "open.jsonl", tmp_path / "out.jsonl", answers)
    assert next(read_jsonl(tmp_path / "out.jsonl"))["score"] == 0.0


def test_the_code_of_a_plan_is_there(tmp_path):
    plan = replace(plan_of(tmp_path, NEAR), checkers={})
    with pytest.raises(ValueError, match="source 'train': the plan has no code of python:near.py"):
        standardize(plan=plan, settings=SETTINGS, out=tmp_path / "out")


def test_the_example_of_the_documents_works(tmp_path):
    from tests import ROOT

    page = (ROOT / "docs" / "judging.md").read_text(encoding="utf-8").partition("## A checker of your own")[2]
    code = page.split("```python\n")[1].split("```")[0]
    known = checker.install_codes({"python:plan.py": packed(code)})["python:plan.py"]
    row = {"question": "Plan it.", "gold": "", "forbidden": ["hammer", "nail"]}
    said = {
        text: checker.judge(known, f"<think>hammer</think>{text}", row)[:3]
        for text in ("#### A saw", "nail #### B", "saw")
    }
    assert said == {"#### A saw": (1.0, True, "a saw"), "nail #### B": (0.5, False, "b"), "saw": (0.0, False, None)}


def test_a_row_is_json():
    from datetime import date

    assert plain_row({"a": float("nan"), "b": [float("inf"), 1], "c": date(2026, 1, 2)}) == {
        "a": None, "b": [None, 1], "c": "2026-01-02",
    }  # fmt: skip
