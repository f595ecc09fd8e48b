"""The page of a run while it goes on, after a failure and at the end, of the files that lie there then."""

import time

import pytest

from components.compare.live import live_page
from components.lib import live
from components.lib.files import write_json, write_jsonl
from components.lib.live import Live, Progress
from components.lib.training.checkpoints import CURVES_ARE
from tests.fixtures.pages import check_page

REFRESH = '<meta http-equiv="refresh" content="5">'


@pytest.fixture
def progress(tmp_path):
    """A run in the middle of GRPO: base evaluated, ten steps made, and an older run beside it."""
    write_json(tmp_path / "artifacts" / "older" / "evaluate" / "items" / "summary.json", {})
    found = Progress("20260101-1", "tiny", tmp_path / "artifacts")
    rows = [{"split": split, "protocol": "zero-shot", "accuracy": 0.25, "interval": [0.1, 0.4]}
            for split in ("evaluation", "gate")]  # fmt: skip
    summary = {"checkpoint": "base", "results": rows}
    write_json(tmp_path / "artifacts" / "mine" / "evaluate" / "items" / "summary.json", summary)
    found.begin("preflight")
    found.end(True, 6.0)
    found.begin("grpo")
    found.say(f"grpo{CURVES_ARE}{tmp_path / 'curves'}")
    found.say("step 10/60  reward 0.5")
    steps = [{"step": step, "loss": 0.1, "reward": step / 20} for step in range(1, 11)]
    write_jsonl(tmp_path / "curves" / "curves.jsonl", steps)
    with (tmp_path / "curves" / "curves.jsonl").open("a") as file:
        file.write('{"step": 11, "rew')  # it is written just now
    write_jsonl(tmp_path / "curves" / "plateau.jsonl", [{"step": 0, "accuracy": 0.5}, {"step": 10, "accuracy": 0.25}])
    sample = {"step": 10, "question": "1 < 2?", "gold": "2", "completion": "#### 3", "reward": 0.5}
    write_jsonl(tmp_path / "curves" / "samples.jsonl", [sample])
    write_jsonl(tmp_path / "curves" / "alarms.jsonl", [{"step": 9, "message": "all were cut off"}])
    return found


def test_in_the_middle_it_says_where_the_run_is_and_shows_itself_anew(progress):
    page = live_page(progress)
    check_page(page)
    assert "<h1>Not finished: GRPO is at step 10 of 60</h1>" in page and REFRESH in page
    for told in ("Run 20260101-1, recipe tiny", "accuracy, zero-shot", "25.0 %", "Right on the plateau split", "Reward",
                 "1 &lt; 2?", "GRPO, step 9: all were cut off", "step 10/60  reward 0.5", "0.1 min"):  # fmt: skip
        assert told in page, told
    progress.end(True, 60.0)
    assert "<h1>Not finished: the next step is about to begin</h1>" in live_page(progress)
    progress.begin("evaluate-2")
    assert "<h1>Not finished: evaluate-grpo is running</h1>" in live_page(progress)


def test_it_begins_with_nothing(tmp_path):
    page = live_page(Progress("20260101-1", "tiny", tmp_path / "artifacts"))
    assert "Not finished" in page and REFRESH in page and "<svg" not in page


def test_after_a_failure_it_says_which_step_failed_and_why(progress, tmp_path):
    followed = Live(tmp_path / "report.html", progress, live_page)
    followed.end(
        "failed",
        "grpo failed: ValueError: no room",
        ["its last line"],
        tmp_path / "results" / "report.html",
        made=False,
    )
    page = followed.path.read_text()
    check_page(page)
    assert "<h1>Failed: grpo failed: ValueError: no room</h1>" in page and "http-equiv" not in page
    assert "Right on the plateau split" in page and "results/report.html" not in page
    assert "its last line" in page


def test_a_failure_after_the_report_leads_to_it(progress, tmp_path):
    followed = Live(tmp_path / "report.html", progress, live_page)
    followed.end("failed", "push failed", [], tmp_path / "results" / "report.html", made=True)
    assert '<a href="results/report.html">The report</a>' in followed.path.read_text()


@pytest.mark.parametrize("ending", ["promoted", "rejected", "no-change"])
def test_at_the_end_the_report_takes_its_place(progress, tmp_path, ending):
    followed = Live(tmp_path / "report.html", progress, live_page)
    followed.write()
    assert REFRESH in followed.path.read_text()
    (tmp_path / "results").mkdir()
    for name in ("report", "data"):
        (tmp_path / "results" / f"{name}.html").write_text(f"the {name}")
    report = tmp_path / "results" / "report.html"
    followed.end(ending, "why", [], report, made=ending != "no-change")
    assert [(tmp_path / f"{name}.html").read_text() for name in ("report", "data")] == ["the report", "the data"]
    report.write_text("<h1>the report</h1>")
    followed.end(ending, "why", [], report, made=True, warnings=["no answer"])
    assert "<li>no answer</li>" in followed.path.read_text()


def test_without_any_report_it_says_how_the_run_ended(progress, tmp_path):
    followed = Live(tmp_path / "report.html", progress, live_page)
    followed.end("no-change", "nothing has changed", [], tmp_path / "results" / "report.html", made=False)
    page = followed.path.read_text()
    assert "<h1>Ended: nothing has changed</h1>" in page and "http-equiv" not in page


def test_it_is_written_when_something_was_said_and_ends_with_the_block(progress, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "PACE_S", 0.01)
    pages = []
    followed = Live(tmp_path / "report.html", progress, lambda found: pages.append(found.position) or "page")
    with followed.following():
        wait_for(pages, 1)
        time.sleep(0.1)
        assert pages == [(10, 60)], "nothing is said meanwhile"
        progress.say("step 15/60  reward 0.6")
        wait_for(pages, 2)
    progress.say("step 20/60")
    time.sleep(0.1)
    assert pages == [(10, 60), (15, 60)] and followed.path.read_text() == "page"


def wait_for(pages, count):
    deadline = time.monotonic() + 30
    while len(pages) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_page_that_cannot_be_written_ends_no_run(progress, tmp_path):
    (tmp_path / "file").write_text("")
    Live(tmp_path / "file" / "report.html", progress, live_page).write()
