"""The report: one well-formed file, nothing from outside, nothing unescaped, figures that can be drawn."""

import re

import pytest

from components.compare.charts import curve
from components.compare.compare import compute
from components.compare.report import html, markdown
from components.compare.story import decomposition, findings, headline, parts
from components.lib.files import read_jsonl, write_jsonl
from components.lib.recipe.recipes import TINY
from components.lib.recipe.schema import Compare
from components.lib.recipe.settings import replace
from components.lib.reporting import svg
from components.lib.reporting.table import text_table
from components.lib.reporting.wording import clip, p_text, points
from tests.fixtures.pages import check_page

RECIPE = replace(TINY, compare=Compare(confidence=0.95, bootstrap_samples=200, examples=2))


@pytest.fixture
def results(evaluations, tmp_path):
    write_jsonl(tmp_path / "curves" / "curves.jsonl", [{"step": k, "loss": k**-0.5, "correct": 0.5} for k in (1, 2, 3)])
    return compute(evaluations, {"sft": tmp_path / "curves"}, RECIPE)


def test_page_is_well_formed_and_alone(results):
    check_page(html(results))


def test_texts_of_models_are_escaped(results):
    page = html(results)
    assert "<b>2+2</b>" not in page and "&lt;b&gt;2+2&lt;/b&gt; &amp; more?" in page


def test_every_figure_is_drawn(results):
    assert html(results).count("<svg") == 3 * 2 + 2, "three kinds for two protocols, two training curves"


def test_page_without_curves_gate_or_pairs(results, evaluations):
    alone = compute({"base": evaluations["base"]}, {}, RECIPE) | {"gate": []}
    page = html(alone)
    assert "Training curves" not in page and "What moved" not in page and "gate split" not in page
    assert markdown(alone).startswith("# base answers 25.0")


def test_the_report_shows_each_source_where_there_are_several(results, mixed):
    found = compute(mixed, {}, RECIPE)
    page, text, table = html(found), markdown(found), text_table(found)
    check_page(page)
    assert page.count("<svg") == 3 * (2 + 3), "each source under the first protocol"
    for title in ("zero-shot, words", "8-shot, math", "gate split, zero-shot, gsm8k"):
        assert f">{title}</th>" in page and f"| {title} |" in text
    assert "zero-shot by source: gsm8k" in text and "macro" in page
    assert max(map(len, table.split("\n"))) <= 100 and "grpo        zero-shot  words   10/13" in table
    for quiet in (html(results), markdown(results), text_table(results)):
        assert "macro" not in quiet and "by source" not in quiet


def test_each_kind_shows_what_lm_eval_says_of_it(mixed):
    """Mathematics and numbers have rules of their own, words have none; together there is nothing to compare."""
    rules = {"math": {"minerva_math": True, "math_verify": False}, "words": {}}
    for path in mixed.values():
        rows = list(read_jsonl(path / "items.jsonl"))
        more = [{"lm_eval": rules.get(row["source"], row["lm_eval"]), "form": "boxed"} for row in rows]
        write_jsonl(path / "items.jsonl", [row | extra for row, extra in zip(rows, more, strict=True)])
    found = compute(mixed, {}, RECIPE)
    rows = {row["source"]: row for row in found["sources"]}
    assert rows["math"]["lm_eval_minerva_math"] == 1.0 and "lm_eval_strict" not in rows["math"]
    assert not [name for row in [*found["results"], rows["words"]] for name in row if "lm_eval" in name]
    page, text = html(found), markdown(found)
    for name in ("strict", "flexible", "minerva math", "math verify"):
        assert f"<th>lm-eval<br>{name}</th>" in page and f"lm-eval {name}, %" in text
    assert "boxed{ANSWER}" in page and "the sentence “Final Answer" in page


def test_alarms_come_first(results):
    alarmed = results | {"alarms": ["the templates differ"]}
    assert html(alarmed).index("the templates differ") < html(alarmed).index("<h2>")
    assert markdown(alarmed).index("the templates differ") < markdown(alarmed).index("##")


def test_words_say_what_the_numbers_say(results):
    text = headline(results).replace("\N{NO-BREAK SPACE}", " ")
    assert text == (
        "GRPO answers 75.0 % of 40 problems right, zero-shot: base 25.0 %, SFT +25.0 points (adjusted p = 0.083), GRPO "
        "+25.0 points (adjusted p = 0.008)."
    )
    first = findings(results)[2].replace("\N{NO-BREAK SPACE}", " ")
    assert "20 problems won, 0 lost, more than chance explains (p <0.001" in first
    for row in decomposition(results):
        assert row["total"] == pytest.approx(row["maths"] + row["form"])


def test_what_chance_explains_is_told_at_the_level_of_the_report(evaluations):
    for confidence, said in ((0.8, "more than chance explains"), (0.95, "no more than chance explains")):
        found = compute(evaluations, {}, replace(RECIPE, compare=replace(RECIPE.compare, confidence=confidence)))
        for row in found["overall"]:
            row["p_adjusted"] = 0.06
        first = findings(found)[2]
        assert f" lost, {said} (p" in first and first.endswith(f", level {1 - confidence:.3g}).")


def test_a_p_value_of_the_level_itself_is_chance(results):
    results["overall"][0]["p_adjusted"] = 0.05
    assert "no more than chance explains" in findings(results)[2]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((0.0, 0.9), (0.45, 0.9), (0.45, 0.0, 0.45)),  # it could do it all along
        ((0.3, 0.3), (0.6, 0.6), (0.3, 0.3, 0.0)),  # it gave all that it had
        ((0.0, 0.9), (0.0, 0.3), (0.0, 0.0, 0.0)),  # nothing was given, so nothing was gained by form
        ((0.0, 0.0), (0.4, 0.5), (0.4, 0.4, 0.0)),  # nothing is known of the form before
        ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0, 0.0)),
    ],
)
def test_maths_and_form(before, after, expected):
    rows = [{"accuracy": strict, "right_anywhere": anywhere, "truncated": 0.0} for strict, anywhere in (before, after)]
    assert parts(*rows) == pytest.approx(expected)


@pytest.mark.parametrize("several", [False, True])
def test_markdown_tables_have_whole_rows(results, request, several):
    results = compute(request.getfixturevalue("mixed"), {}, RECIPE) if several else results
    widths = []
    for line in markdown(results).split("\n"):
        if line.startswith("|"):
            widths.append(line.count(" | "))
        elif widths:
            assert len(set(widths)) == 1
            widths = []


def test_markdown_fences_cannot_be_closed_from_inside(results):
    for sample in results["samples"]:
        for case in sample["examples"]:
            case["after"]["completion"] = "```\n# not a heading\n```"
    text = markdown(results)
    fence = re.search(r"^(`{4,})text\n```\n# not a heading\n```\n\1$", text, re.MULTILINE)
    assert fence


def test_terminal_table(results):
    lines = text_table(results).split("\n")
    assert max(map(len, lines)) <= 100 and all(line.isascii() for line in lines)
    assert lines[0].split() == ["checkpoint", "protocol", "right", "accuracy", "interval", "change", "p-value"]
    assert lines[3].split() == ["sft", "zero-shot", "20/40", "50.0", "%", "35.2", "-", "64.8", "+25.0", "0.041"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.2, 0.7), (-3e-5, 2e-5), (0, 511), (1, 500), (7, 7.001)])
def test_ticks_are_few_round_and_inside(low, high):
    marks = svg.ticks(low, high)
    assert 2 <= len(marks) <= 11
    assert all(low - 1e-9 <= mark <= high + 1e-9 for mark in marks)


def test_domain_covers_all_intervals():
    assert svg.share_domain([(0.0, 0.01), (0.97, 1.0)]) == (0.0, 1.0)
    assert svg.share_domain([(0.52, 0.58)]) == (0.5, 0.6)
    low, high = svg.share_domain([(1.0, 1.0)])
    assert high > low


def test_a_flat_curve_and_a_single_point_are_drawn():
    for dots in ([[1, 0.5], [2, 0.5]], [[5, 0.0]]):
        assert "nan" not in curve(dots, "flat", "sft", False)


def test_numbers_in_words():
    assert points(-0.031) == "\N{MINUS SIGN}3.1" and points(0.0) == "0.0" and points(0.0004) == "0.0"
    assert p_text(0.0414) == "0.041" and p_text(0.5) == "0.50" and p_text(1e-12) == "<0.001"
    assert len(clip("x" * 9000)) < 1600 and "7,500 characters" in clip("x" * 9000)
