"""The history of a registry: the table, the page, and what they say of champions."""

import re
from datetime import UTC, datetime, timedelta

import pytest

import pipeline
from components.lib.registry.outcome import write_outcome
from components.lib.registry.store import open_store
from components.lib.reporting.history import by_source, read_history, text_table
from components.lib.reporting.history_page import html, time_ticks
from components.lib.reporting.messages import lines as message_lines
from tests.fixtures.outcomes import outcome, row, write_quarter
from tests.fixtures.pages import check_page


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path / "registry"))
    write_quarter(store)
    return store


def test_the_table_has_every_run_in_order_with_the_champion_of_its_time(store):
    lines = text_table(read_history(store)).splitlines()
    assert lines[0].split() == ["ended", "run", "ending", "right", "accuracy", "interval", "new", "rows", "champion"]
    rows = lines[2:-2]
    assert [line.split()[2] for line in rows] == [f"week-{n:02}" for n in range(1, 14)]
    assert "promoted       765/1319    58.0 %  55.3 - 60.6        40  v000000000001" in rows[0]
    assert "failed (grpo)" in rows[4] and "%" not in rows[4] and rows[4].endswith("v000000000004")
    assert "failed (push)  901/1319    68.3 %" in rows[10] and rows[12].split()[3] == "no-change"
    assert lines[-1] == (
        "Champion number 3: v000000000009 of run week-09, since 2026-03-08 08:00 UTC, 65.3 % right (62.7 to 67.8)."
    )


def test_the_page_stands_alone_and_draws_every_run_once(store):
    page = html(read_history(store))
    check_page(page)
    plot = page[page.index('aria-label="accuracy over time"') : page.index('<ul class="legend">')]
    assert plot.count("<circle") == 10 and plot.count(' mark"') == 3, "every run once"
    assert plot.count('class="c-champion curve"') == 3
    assert "week-07, 2026-02-22 08:00: rejected, 48.5 % (45.8 to 51.2) of 1,319 problems" in plot
    # A better model lies higher.
    heights = [float(y) for y in re.findall(r'<circle class=" dot" cx="[\d.]+" cy="([\d.]+)"', plot)]
    assert heights[0] > heights[2] > heights[6] and max(heights) == heights[4]
    assert page.count("<tbody class=") == 13 and page.index("week-13 was rejected") < page.index("week-01 was rejected")
    assert "13 runs: 3 promoted, 6 rejected, 2 no-change, 2 failed" in page


def test_each_source_is_told_of_the_runs_that_had_several(store):
    assert "by source" not in text_table(read_history(store)) and "Each source" not in html(read_history(store))
    rows = [row("base", 30, n=50), row("grpo", 40, n=50), row("grpo", 1, "8-shot", n=50)]
    sources = [each | {"source": name} for name in ("gsm8k", "<math>") for each in rows]
    sources[-2]["accuracy"] = 0.5
    changes = {"right": 858, "ended": "2026-04-12T03:00:00+00:00"}
    last = outcome("week-14", ending="rejected", sources=sources, **changes)
    last.results[1]["macro"] = 0.65
    write_outcome(store, last)
    history = read_history(store)
    assert by_source(history.runs[-1]) == "gsm8k 80.0 %, <math> 50.0 %, macro 65.0 %"
    table = text_table(history).splitlines()
    assert "by source" in table[0] and "gsm8k 80.0 %, <math> 50.0 %, macro 65.0 %" in table[-3]
    page = html(history)
    check_page(page)
    assert "Each source by itself" in page and "&lt;math&gt; 50.0 %, macro 65.0 %" in page
    plot = page[page.index('aria-label="accuracy over time, gsm8k"') :].partition("</svg>")[0]
    assert plot.count("<circle") == 1 and plot.count(' mark"') == 0, "the runs that were asked it, and no other"
    assert "By source: gsm8k 80.0 %, <math> 50.0 %, macro 65.0 %." in message_lines(last)


def test_what_a_run_says_is_text_on_the_page(store):
    write_outcome(store, outcome("week-14", ending="failed", failed_step="sft", sentence="sft failed: <b>&"))
    assert "sft failed: &lt;b&gt;&amp;" in html(read_history(store))


def test_the_verb_reads_the_registry_alone_and_writes_nothing_there(store, tmp_path, capsys):
    before = store.keys("")
    page = tmp_path / "pages" / "history.html"
    assert pipeline.main(["history", "--registry", str(tmp_path / "registry"), "--output", str(page)]) == 0
    assert capsys.readouterr().out.count("week-") == 14 and "<svg" in page.read_text()
    assert store.keys("") == before


def test_outcomes_of_another_version_are_read_and_what_is_none_is_counted(store):
    """An upgrade may add a field or drop one; it must not forget the runs before it."""
    before, whole = len(read_history(store).runs), store.read_json("runs/week-01/outcome.json")
    older = {name: whole[name] for name in ("run_id", "ending", "sentence", "started", "ended")}
    store.write_json("runs/older/outcome.json", older)
    store.write_json("runs/newer/outcome.json", whole | {"more": 1})
    store.write_json("runs/odd/outcome.json", {"run_id": "odd", "ending": "promoted", "sentence": "x"})
    history = read_history(store)
    assert len(history.runs) == before + 2 and history.unread == 1
    assert text_table(history).endswith("\nNot shown: 1 that this version of the code cannot read.")
    assert "Not shown: 1 that" in html(history)


def test_a_registry_without_runs_is_named(tmp_path, capsys):
    assert pipeline.main(["history", "--registry", str(tmp_path / "none"), "--output", str(tmp_path / "h.html")]) == 2
    assert "none holds no runs; give the one of your runs with --registry" in capsys.readouterr().err


def test_a_first_failed_run_is_a_history_too(tmp_path):
    store = open_store(str(tmp_path))
    write_outcome(store, outcome("first", ending="failed", failed_step="preflight", sentence="preflight failed"))
    history = read_history(store)
    assert "No model has been promoted yet." in text_table(history) and "<svg" in html(history)


@pytest.mark.parametrize("span", [timedelta(0), timedelta(minutes=14), timedelta(days=3), timedelta(days=91),
                                  timedelta(days=4000)])  # fmt: skip
def test_the_time_axis_has_a_few_round_marks(span):
    first = datetime(2026, 1, 4, 3, 7, tzinfo=UTC)
    marks = time_ticks(first, first + span)
    assert 1 <= len(marks) <= 9 and all(first <= mark <= first + span for mark in marks)
