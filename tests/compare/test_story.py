"""What the report's opening says of three runs: half cut off, GRPO worse than SFT, and one in the middle."""

from html import unescape

import pytest

from components.compare.about import run_of
from components.compare.compare import compare
from components.compare.report import html
from components.compare.story import findings, headline
from components.gate.gate import run_gate
from components.lib.files import read_json, read_jsonl, write_json, write_jsonl
from components.lib.recipe.recipes import TINY
from components.lib.recipe.schema import Compare
from components.lib.recipe.settings import replace
from tests.conftest import saved_item
from tests.fixtures.pages import check_page

RECIPE = replace(
    TINY, seed=7, compare=Compare(confidence=0.95, bootstrap_samples=200, examples=1),
    gate=replace(TINY.gate, max_mean_tokens=0, min_well_formed=0, max_truncated=0.1),
)  # fmt: skip
SOURCES = [
    {"name": "/data/mine/rows.jsonl", "use": "problems", "kept": {"problems": 900, "gate": 100}, "refused": {"x": 7}}
]
RECORDS = [
    {"step": "sft", "seconds": 452.0, "machine": {"gpus": [], "threads": "2", "commit": "2680ec0"}},
    {
        "step": "grpo",
        "seconds": 720.0,
        "machine": {"gpus": [], "threads": "2", "commit": "2680ec0"},
        "numbers": {"screen_seconds": 72.0},
    },
    {"step": "evaluate-base", "seconds": 200.0, "machine": {"gpus": [], "threads": "2", "commit": "2680ec0"}},
]
# Right answers of base, SFT and GRPO; every n-th wrong one is cut off; alarm, headline, first sentences, gate.
RUNS = {
    "cut off": (
        (40, 60, 100), 1,
        "Completions were cut off at the length limit: 80.0 % of base's (zero-shot), 70.0 % of SFT's (zero-shot), "
        "50.0 % of GRPO's (zero-shot). They count as wrong, whatever they would have said; raise "
        "evaluate_max_new_tokens and grpo_max_new_tokens, unless the model repeats itself.",
        "GRPO answers 50.0 % of 200 problems right, zero-shot: base 20.0 %, SFT +10.0 points (adjusted p <0.001), GRPO "
        "+20.0 points (adjusted p <0.001).",
        "Maths or form, zero-shot: nothing can be said, since 80.0 % of base's and 50.0 % of GRPO's completions were "
        "cut off.",
        "grpo is rejected: 50.0% of its completions were cut off (at most 10.0%).",
    ),
    "GRPO lost": (
        (40, 100, 80), 0, "",
        "GRPO answers 40.0 % of 200 problems right, zero-shot, fewer than SFT: base 20.0 %, SFT +30.0 points (adjusted "
        "p <0.001), GRPO −10.0 points (adjusted p <0.001).",
        "Maths or form, zero-shot: of the +20.0 points, +20.0 come from more right answers, wherever they stand in the "
        "text, and 0.0 from coming to an end and answering in the form asked for.",
        "grpo is promoted: 40.0% of 200 gate problems, +20.0% on the base (p = 9.1e-13).",
    ),
    "middle": (
        (40, 42, 43), 0, "",
        "GRPO answers 21.5 % of 200 problems right, zero-shot: base 20.0 %, SFT +1.0 points (adjusted p = 1.00), GRPO "
        "+0.5 points (adjusted p = 1.00).",
        "Maths or form, zero-shot: of the +1.5 points, +1.5 come from more right answers, wherever they stand in the "
        "text, and 0.0 from coming to an end and answering in the form asked for.",
        "grpo is rejected: it gains 1.5 points on the base, which may be chance (p = 0.125, more than 0.05).",
    ),
}  # fmt: skip


def evaluated(folder, right, every):
    """Directories as evaluate writes them: of 200 problems the first are right, the others wrong or cut off."""
    found = {}
    for checkpoint, count in zip(("base", "sft", "grpo"), right, strict=True):
        items = [
            saved_item(checkpoint, split, "zero-shot", k, k < count) | {"answer": "4" if k < count else "5"}
            for split in ("evaluation", "gate")
            for k in range(200)
        ]
        for item in items:
            item |= {"finish_reason": "length" if every and not item["correct"] else "stop", "unparsed": False}
            item |= {"correct_lenient": item["correct"], "lm_eval": {}}
        write_jsonl(folder / checkpoint / "items.jsonl", items)
        about = {"checkpoint": checkpoint, "model": checkpoint, "revision": "main", "model_sha256": "ab" * 32,
                 "template_sha256": "cd" * 32, "seed": 0, "settings": {}, "results": []}  # fmt: skip
        write_json(folder / checkpoint / "summary.json", about)
        found[checkpoint] = folder / checkpoint
    return found


def page_of(folder, right, every):
    """results.json of a run, and its report's page."""
    evaluations = evaluated(folder, right, every)
    run_gate(
        base=evaluations["base"], candidate=evaluations["grpo"], registry=str(folder / "registry"),
        settings=RECIPE.gate, decision_out=folder / "decision.json", curves=None,
    )  # fmt: skip
    write_json(folder / "data" / "summary.json", {"sources": SOURCES})
    steps = [{"step": k, "loss": 1 / k, "reward": 1 - 1 / k, "correct": 1 - 1 / k, "kl": k / 9, "tokens": 500 * k}
             for k in (1, 2, 3)]  # fmt: skip
    write_jsonl(folder / "grpo-curves" / "curves.jsonl", steps)
    run = run_of(RECIPE, RECORDS, folder / "data", folder / "decision.json")
    compare(
        evaluations=evaluations, curves={"grpo": folder / "grpo-curves"}, out=folder / "out", recipe=RECIPE,
        data=folder / "data", run=run,
    )  # fmt: skip
    results = read_json(folder / "out" / "results.json")
    return results, (folder / "out" / "report.html").read_text()


@pytest.mark.parametrize("name", RUNS)
def test_the_opening_of_the_report(name, tmp_path):
    right, every, alarm, title, form, gate = RUNS[name]
    results, page = page_of(tmp_path, right, every)
    check_page(page)

    def plain(text):
        return text.replace("\N{NO-BREAK SPACE}", " ")

    assert plain(headline(results)) == title
    assert [plain(text) for text in results["alarms"]] == ([alarm] if alarm else [])
    assert plain(findings(results)[3]) == form
    assert results["run"]["gate"]["reason"] == gate
    shown = plain(unescape(page[: page.index("At a glance")]))
    for sentence in filter(None, (title, alarm, form, gate)):
        assert sentence in shown
    first = shown.index(alarm) if alarm else shown.index("Gate:")
    assert first < shown.index("zero-shot: base to SFT")


def test_findings_say_which_weights_grpo_handed_on(tmp_path):
    rows = [{"step": step, "accuracy": 0.5, "n": 10} for step in (0, 2)]
    write_jsonl(tmp_path / "grpo-curves" / "plateau.jsonl", rows)
    results, page = page_of(tmp_path, (40, 60, 60), 0)
    told = "GRPO handed on the weights of step 0 of 2, the best on the plateau split: they are those that it began with"
    assert findings(results)[-1].startswith(told) and told in page
    assert results["curves"]["grpo"]["plateau"] == [[0, 0.5], [2, 0.5]]


def test_the_first_screen_says_what_was_run(tmp_path):
    results, page = page_of(tmp_path, (40, 60, 100), 0)
    assert results["run"]["changed"]["seed"] == ["0", "7"] and "registry" not in results["run"]["changed"]
    assert results["run"]["tokens"]["evaluate-base"] == sum(
        row["tokens"] for row in read_jsonl(tmp_path / "base" / "items.jsonl")
    )
    for told in ("seed=7", ".../mine/rows.jsonl (problems): 1,000 rows kept, 7 refused", 'href="data.html"', "2680ec0",
                 "no GPU, 2 threads", "sft 7.5 min",
                 "grpo 12.0 min (3,000 tokens written), 10.0 % of it to screen the problems",
                 "evaluate-base 3.3 min (", "<summary>The whole"):  # fmt: skip
        assert told in page, told


def test_a_recipe_file_is_told_by_what_it_changed(tmp_path):
    page_of(tmp_path, (40, 60, 100), 0)
    mine = replace(RECIPE, name="mine", base="tiny")
    run = run_of(mine, RECORDS, tmp_path / "data", tmp_path / "decision.json")
    assert (run["recipe"], run["base"], run["changed"]["seed"]) == ("mine", "tiny", ["0", "7"])
    results = read_json(tmp_path / "out" / "results.json")
    results["run"] |= {name: run[name] for name in ("recipe", "base", "changed")}
    assert "mine, on top of tiny<br>" in html(results) and "seed=7" in html(results)
    assert run_of(replace(mine, base=""), RECORDS, tmp_path / "data", tmp_path / "decision.json")["changed"] is None


def test_no_answer_means_the_same_in_table_and_chart(tmp_path):
    results, _ = page_of(tmp_path, (40, 60, 100), 1)
    for row in results["results"]:
        row["unparsed"] = 0.725  # with those that were cut off
    assert "72.5" not in html(results)


def test_a_step_that_changed_no_problem_is_no_matter_of_chance(tmp_path):
    results, _ = page_of(tmp_path, (40, 60, 60), 0)
    assert findings(results)[1].replace("\N{NO-BREAK SPACE}", " ") == (
        "zero-shot: SFT to GRPO changes no problem: 30.0 % (24.1 – 36.7) as before."
    )
