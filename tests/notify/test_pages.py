"""What the exit handler shows on the run's page: the report, and how the run ended."""

import pytest

from components.lib.registry.champion import PREFIX
from components.lib.registry.outcome import write_outcome
from components.lib.registry.store import open_store
from components.notify.pages import write_pages
from tests.fixtures.outcomes import outcome

CHAMPION = {"version": "v-week-05", "run_id": "week-05", "location": "s3://b/models/v-week-05", "fingerprint": "f",
            "url": "", "data": "", "promoted_at": "2026-01-04T04:05:06+00:00"}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """A registry with a champion and the outcome of its run."""
    store = open_store(str(tmp_path / "registry"))
    store.write_json(f"{PREFIX}/00000001.json", {"run_id": "week-05", "champion": CHAMPION})
    write_outcome(store, outcome("week-05", ending="promoted", right=771))
    return store


def pages(store, tmp_path, told):
    """The HTML and the Markdown that an outcome makes."""
    made = {"report": tmp_path / "a" / "report", "outcome": tmp_path / "a" / "outcome"}
    write_pages(told, store.url("").rstrip("/"), **made)
    return made["report"].read_text(), made["outcome"].read_text()


def test_a_run_without_news_names_the_champion_and_its_figures(store, tmp_path):
    told = outcome("week-06", ending="no-change", sentence="nothing has changed since champion v-week-05")
    for page in pages(store, tmp_path, told):
        assert "qwen3.5-0.8b: no-change" in page and "nothing has changed since champion v-week-05." in page
        assert "Version v-week-05, promoted 2026-01-04 04:05 by run week-05: s3:" in page and "GRPO 58.5%" in page


def test_a_failed_run_shows_its_last_lines_and_nothing_of_them_is_markup(store, tmp_path):
    log = ["Traceback", "<img src=x> *loss* | [a](https://b)"]
    told = outcome("week-06", ending="failed", sentence="sft failed: <b>no</b>", failed_step="sft", log=log)
    html, markdown = pages(store, tmp_path, told)
    assert "Last lines of sft" in html and "&lt;img src=x&gt;" in html and "<b>no" not in html
    assert "## Last lines of sft" in markdown and r"&lt;img src=x&gt; \*loss\*" in markdown


def test_the_report_of_a_judged_run_is_on_its_page(store, tmp_path):
    store.write("runs/week-06/results/report.html", b"<h1>the report</h1>")
    html, markdown = pages(store, tmp_path, outcome("week-06", right=700))
    assert html == "<h1>the report</h1>" and markdown.startswith("# qwen3.5-0.8b: rejected\n")


def test_what_went_wrong_at_the_promotion_is_on_both_pages(store, tmp_path):
    store.write("runs/week-06/results/report.html", b"<h1>the report</h1><p>")
    told = outcome("week-06", ending="promoted", right=700, warnings=["v1 is not in <it>: no answer"])
    html, markdown = pages(store, tmp_path, told)
    assert html.startswith("<h1>the report</h1>\n<div") and "<li>v1 is not in &lt;it&gt;: no answer</li>" in html
    assert "- Warning: v1 is not in &lt;it&gt;: no answer" in markdown


def test_without_a_champion_none_is_named(tmp_path):
    html, markdown = pages(open_store(str(tmp_path / "registry")), tmp_path, outcome("week-01", ending="failed"))
    assert "<h2>The champion" not in html and "## The champion" not in markdown
