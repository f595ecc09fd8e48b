"""Alarms about sources as a whole: nothing of one is kept, little is, or its answers stand in another form."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.compare.compare import compute
from components.compare.report import html, markdown
from components.lib.data.checks import stands_in
from components.lib.recipe.recipes import TINY
from components.lib.recipe.schema import Compare, Source
from components.lib.recipe.settings import replace, to_json
from components.lib.registry.plan import Plan
from components.standardize.standardize import standardize
from tests.fixtures.rows import SETTINGS, evaluation, good, read, run, write


def chat(answer: str, n: int = 0, **more) -> dict:
    turns = [f"What is {n} and {n * 31} of house {n}?", f"<think>Well, it is easy, {n}.</think>{answer}"]
    roles = ("user", "assistant")
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)], **more}


def source(folder: Path, rows: list[dict], **fields) -> Source:
    return Source(path=write(folder / "rows.jsonl", rows), **{"name": "rows", "adapter": "chat"} | fields)


SOUND = good("chat", 40)
NOTHING = {  # reason: rows of which none is kept
    "misfit": ([{"text": "a"}] * 3, {}),
    "contradiction": ([chat("#### 7", n, gold="8") for n in range(3)], {}),
    "duplicates": (SOUND[:4], {}),
    "too long": ([chat("#### 7 " + "so " * 9000, n) for n in range(2)], {}),
    "tokens": ([chat("</s>#### 7", n) for n in range(2)], {}),
    "by its weight": (good("chat", 3, seed=5), {"weight": 1e-9}),
    "no rows": ([], {}),
}


@pytest.mark.parametrize("why", NOTHING)
def test_a_source_of_which_nothing_is_kept_is_an_error_unless_it_is_optional(tmp_path: Path, why: str) -> None:
    rows, fields = NOTHING[why]
    first = Source(path=write(tmp_path / "first.jsonl", SOUND), name="first", adapter="chat")
    with pytest.raises(ValueError, match="source 'rows'.*(holds no rows|no row fits|none of its . rows)") as error:
        run(tmp_path, first, source(tmp_path, rows, **fields))
    assert "optional: true" in str(error.value) and "\n" not in str(error.value)
    assert len(read(tmp_path / "out")["sft"]) == len(SOUND)  # nothing that was done is lost

    assert len(run(tmp_path, first, source(tmp_path, rows, **fields, optional=True))["sft"]) == len(SOUND)
    warnings = json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    assert len(warnings) == 1 and "source 'rows'" in warnings[0]


def test_an_evaluation_of_which_nothing_is_kept_is_one(tmp_path: Path) -> None:
    bad = Source(path=write(tmp_path / "bad.jsonl", [{"question": "How?", "answer": "#### many"}]), adapter="gsm8k")
    sound = Source(path=write(tmp_path / "test.jsonl", evaluation()), adapter="gsm8k")
    plan = Plan(model="", revision="main", seed=0, sources=(source(tmp_path, SOUND),), evaluation=(sound, bad))
    with pytest.raises(ValueError, match=r"bad.jsonl' .*, for problems: none of its 1 rows is kept \(1 bad-gold\)"):
        standardize(plan=plan, settings=SETTINGS, out=tmp_path / "out")


LITTLE = [  # rows, settings of source and step, the warning or nothing
    ([*SOUND[:6], *[chat("#### 7")] * 7], {}, {}, "only 53.8 % of its rows"),
    ([*SOUND[:6], *[chat("#### 7")] * 7], {}, {"min_kept": 0.5}, ""),
    ([*SOUND[:4], *[{"x": 1}] * 8], {}, {"min_kept": 0.3}, ""),
    ([*SOUND[:4], *[{"x": 1}] * 8], {}, {"min_kept": 0.0}, ""),
    (
        [*SOUND[:4], *[{"x": 1}] * 8],
        {},
        {"min_kept": 0.5},
        "only 33.3 % of its rows can be used (4 of 12; refused: 8 mis",
    ),
    ([*SOUND[:4], *[{"x": 1}] * 8], {"name": "sampled"}, {"min_kept": 0.5}, ""),  # by the base model itself
    (SOUND, {"cap": 3}, {}, ""),
    (SOUND, {"weight": 0.1}, {}, ""),
    ([*SOUND[:20], *[{"x": 1}] * 20], {"cap": 10}, {"min_kept": 0.5}, ""),  # the other half could be used
    (
        [*SOUND[:9], *[{"x": 1}] * 21],
        {"cap": 5},
        {"min_kept": 0.5},
        "only 30 % of its rows can be used (9 of 30; refused: 21 mis",
    ),
]


@pytest.mark.parametrize(("rows", "fields", "settings", "warning"), LITTLE)
def test_a_source_of_which_little_is_kept_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows, fields, settings, warning
) -> None:
    run(tmp_path, source(tmp_path, rows, **fields), **{"min_kept": 0.6} | settings)
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    assert len(found) == bool(warning) and all(warning in one for one in found)
    assert ("standardize: WARNING: source 'rows', for sft: only" in capsys.readouterr().out) == bool(warning)
    for page in ("summary.md", "summary.html"):
        assert ("% of its rows" in (tmp_path / "out" / page).read_text()) == bool(warning)


def test_the_report_of_the_run_warns_of_it(tmp_path: Path, evaluations: dict[str, Path]) -> None:
    run(tmp_path, source(tmp_path, [*SOUND[:3], *[{"x": "<b>"}] * 9]))
    recipe = replace(TINY, compare=Compare(confidence=0.95, bootstrap_samples=100, examples=1))
    found = compute(evaluations, {}, recipe, tmp_path / "out")
    for page in (html(found), markdown(found).replace("\\", "")):
        head = page[: page.index("Accuracy")]
        assert "25 % of its rows can be used (3 of 12; refused: 9 missing-field)" in head
        assert "rows" in head and "summary.html of standardize" in head
    (tmp_path / "out" / "summary.json").write_text("{}")  # as of an older version
    assert not compute(evaluations, {}, recipe, tmp_path / "out")["alarms"]
    assert not compute(evaluations, {}, recipe, tmp_path)["alarms"]


def test_the_component_of_compare_reads_the_warnings_of_its_data(tmp_path: Path, evaluations: dict[str, Path]) -> None:
    from components.compare.component import compare

    run(tmp_path, source(tmp_path, [*SOUND[:3], *[{"x": 1}] * 9]))
    given = {"data": tmp_path / "out", "decision": tmp_path / "decision", "base": evaluations["base"]}
    made = {name: tmp_path / name for name in ("comparison", "comparison_summary", "results", "scores")}
    logged: dict[str, float] = {}
    artifacts = {
        name: SimpleNamespace(path=str(path), uri=str(path), metadata={}, log_metric=logged.__setitem__)
        for name, path in (given | made).items()
    }
    (tmp_path / "decision").write_text('{"promote": false, "reason": "base is rejected: no <gain>."}')
    recipe = replace(TINY, compare=Compare(confidence=0.95, bootstrap_samples=100, examples=1))
    compare.python_func(registry=str(tmp_path / "registry"), run_id="r1", recipe=to_json(recipe), **artifacts)
    assert logged["base_accuracy"] == 0.25 and len(logged) == 1, "no other checkpoint was evaluated"
    page = made["comparison"].read_text()
    assert "base is rejected: no &lt;gain&gt;." in page and "3 rows kept, 9 refused" in page
    assert (made["results"] / "data.html").exists() and 'href="data.html"' in page
    assert all("25 % of its rows" in made[name].read_text() for name in ("comparison", "comparison_summary"))


FORMS = [  # form of the run, answer of a conversation without a gold, what becomes of it, in another form or not
    ("marker", "3+4.\n\n\\boxed{7}", "3+4.\n\n#### 7", False),
    ("marker", "$\\boxed{7}$.", "#### 7", False),
    ("marker", "So:\n\\[ \\boxed{\\frac{1}{2}} \\]", "So:\n#### \\frac{1}{2}", False),
    ("marker", "**\\boxed{Rome}**", "#### Rome", False),
    ("marker", "\\boxed{6}, no:\n\\boxed{7}", "\\boxed{6}, no:\n#### 7", False),
    ("marker", "So:\n\\[\n  \\boxed{7}\n\\]", "So:\n#### 7", False),
    ("marker", "So it is\n\n**$$\n\\boxed{7}.\n$$**", "So it is\n\n#### 7", False),
    ("marker", "It is \\boxed{7}.", None, True),
    ("marker", "So (7).\n1. \\boxed{7}", None, True),
    ("marker", "\\boxed{6} or \\boxed{7}", None, True),
    ("marker", "\\boxed{7}\n\nThat was easy.", None, True),
    ("marker", "The answer is 7.", None, True),
    ("marker", "#### Step 1\n3+4=7", None, True),
    ("marker", "\\boxed{}", None, True),
    ("marker", "\\boxed{7", None, True),
    ("marker", "#### 7", None, False),
    ("marker", "**#### 7**", None, False),
    ("marker", "#### 7\n\nThat was easy.", None, False),
    ("boxed", "3+4.\n#### 7", "3+4.\n\\boxed{7}", False),
    ("boxed", "**#### 7**", "\\boxed{7}", False),
    ("boxed", "####7 cups", "\\boxed{7 cups}", False),
    ("boxed", "It is #### 7", None, True),
    ("boxed", "#### 3. Add", None, True),
    ("boxed", "#### }7{", None, True),
    ("boxed", "#### ", None, True),
    ("boxed", "It is \\boxed{7}.", None, False),
    ("boxed", "The answer is 7.", None, True),
]


def taught(folder: Path, form: str, rows: list[dict]) -> tuple[list[str], dict]:
    """The answers that are left of conversations, in their order, and what is noted of their source."""
    test = Source(path=write(folder / "test.jsonl", evaluation()), adapter="gsm8k")
    plan = Plan(model="", revision="main", seed=0, form=form, sources=(source(folder, rows),), evaluation=(test,))
    standardize(plan=plan, settings=replace(SETTINGS, duplicate_similarity=1.0), out=folder / "out")
    found = {row["index"]: row["messages"][2]["content"] for row in read(folder / "out")["sft"]}
    notes = json.loads((folder / "out" / "summary.json").read_text())["sources"][-1]["notes"]
    return [found[n].partition("</think>\n\n")[2] for n in range(len(rows))], notes


@pytest.mark.parametrize("form", ["marker", "boxed"])
def test_an_answer_in_another_form_is_converted_where_it_can_be_and_counted(tmp_path: Path, form) -> None:
    cases = [case[1:] for case in FORMS if case[0] == form]
    answers, notes = taught(tmp_path, form, [chat(answer, n) for n, (answer, _, _) in enumerate(cases)])
    assert answers == [(becomes or answer).strip() for answer, becomes, _ in cases]
    assert [not stands_in(answer, form) for answer in answers] == [other for _, _, other in cases]
    told = "####" if form == "marker" else "\\boxed"
    converted, others = (sum(map(bool, column)) for column in list(zip(*cases, strict=True))[1:])
    assert notes == {f"answer marked with {told}": converted, f"answer in another form than {told}": others}


@pytest.mark.parametrize(
    ("form", "answer", "becomes"),
    [
        ("marker", "3+4.\n\n\\boxed{7}", "3+4.\n\n#### 7"),
        ("marker", "$\\boxed{7}$", "#### 7"),
        ("marker", "It is \\boxed{7}.", "It is \\boxed{7}.\n\n#### 7"),
        ("marker", "The answer is 7.", "The answer is 7.\n\n#### 7"),
        ("boxed", "3+4.\n#### 7", "3+4.\n\n\\boxed{7}"),
        ("boxed", "The answer is 7.", "The answer is 7.\n\n\\boxed{7}"),
    ],
)
def test_with_a_gold_the_other_form_gives_its_place_too(tmp_path: Path, form, answer, becomes) -> None:
    answers, _ = taught(tmp_path, form, [chat(answer, n, gold="7") for n in range(3)])
    assert answers == [becomes] * 3
