"""The whole pipeline through kfp.local's SubprocessRunner: small, but every step for real."""

import json
import os
import re
import stat
import subprocess
import sys
import threading

import pytest

from tests import ROOT
from tests.fixtures.gsm8k import GSM8K, needs_gsm8k

SMALL = {
    "sft_max_steps": 20, "grpo_max_steps": 2, "grpo_prompts_per_step": 4, "grpo_generations": 4,
    "grpo_micro_batch_size": 16, "grpo_max_new_tokens": 24, "evaluate_problems": 24, "evaluate_gate_problems": 24,
    "evaluate_max_new_tokens": 32,
}  # fmt: skip


def run(output, *, recipe="tiny", environment=None, umask=-1, **changes):
    sets = [f"--set={name}={value}" for name, value in changes.items()]
    command = [sys.executable, "pipeline.py", "run", "--recipe", str(recipe), "--output", str(output), *sets]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **(environment or {})}, check=False,
        umask=umask,
    )  # fmt: skip


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """One forced run of a recipe file, as `recipe tiny` prints it and changed in two places; its umask is 077.

    The output, what was printed, and what report.html was meanwhile.
    """
    output = tmp_path_factory.mktemp("run")
    (output / "tmp").mkdir()
    printed = [sys.executable, "pipeline.py", "recipe", "tiny"]
    text = subprocess.run(printed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    changes = {"  force: false": "  force: true", "name: tiny": "name: mine"}
    for before, after in changes.items():
        assert text.count(f"{before}\n") == 1
        text = text.replace(f"{before}\n", f"{after}\n")
    (output / "mine.yaml").write_text(text)
    own = {"TMPDIR": str(output / "tmp")}
    pages, over = [], threading.Event()

    def look():
        while not over.wait(0.2):
            if (output / "report.html").exists():
                pages.append((output / "report.html").read_text())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        done = run(output, recipe=output / "mine.yaml", environment=own, umask=0o077, **SMALL)
    finally:
        over.set()
        looking.join()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return output, done.stdout, pages


@pytest.fixture(scope="module")
def finished(followed):
    """The output of that run, and what was printed."""
    return followed[:2]


def test_no_temporary_folder_is_left_and_the_umask_holds_for_every_file(finished):
    output, _ = finished
    assert not list((output / "tmp").iterdir())
    made = [path for path in output.rglob("*") if path.is_file() and path.name != "mine.yaml"]
    assert len(made) > 100 and [path for path in made if path.stat().st_mode & 0o077] == []


@pytest.mark.fault("KFP makes a temporary folder for each step and forgets it; the umask is 077")
def test_a_run_that_fails_leaves_no_temporary_folder_and_no_file_to_others(tmp_path, seen):
    (tmp_path / "tmp").mkdir()
    done = run(
        tmp_path / "out", environment={"TMPDIR": str(tmp_path / "tmp")}, umask=0o077, stages="sft",
        standardize_max_tokens=16,
    )  # fmt: skip
    assert done.returncode == 1
    modes = {stat.filemode(path.stat().st_mode) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert modes == {"-rw-------"} and not list((tmp_path / "tmp").iterdir())
    seen(f"{done.stdout.strip().splitlines()[-1]}; each file is {modes.pop()}, TMPDIR is empty")


def test_the_summary_has_every_result(finished):
    output, printed = finished
    summary = json.loads((output / "summary.json").read_text())
    assert summary["ending"] == "promoted"
    found = {(r["checkpoint"], r["protocol"]) for r in summary["results"]}
    assert found == {(c, p) for c in ("base", "sft", "grpo") for p in ("zero-shot", "8-shot")}
    for result in summary["results"]:
        low, high = result["interval"]
        assert result["n"] == 24 and result["accuracy"] == result["correct"] / 24
        assert 0 <= low <= result["accuracy"] <= high <= 1
        assert (result["p_value"] is None) == (result["checkpoint"] == "base")
    steps = {
        "preflight",
        "standardize",
        "sft",
        "grpo",
        "evaluate-base",
        "evaluate-sft",
        "evaluate-grpo",
        "compare",
        "gate",
        "push",
    }
    assert steps < set(summary["seconds"]) and summary["seconds"]["total"] > 0
    assert summary["gate"]["promoted"] and "by force" in summary["gate"]["reason"]
    assert printed.strip().splitlines()[-1].endswith("summary.json")


def test_the_pushed_model_loads_and_answers(finished):
    output, printed = finished
    model = json.loads((output / "summary.json").read_text())["model"]
    command = next(line for line in printed.splitlines() if line.startswith("try it:"))
    assert model in command
    asked = [sys.executable, "pipeline.py", "ask", "--model", model, "Tom has 7 cards. Tom finds 9. How many?"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


def test_the_report_is_one_file(finished):
    page = (finished[0] / "report.html").read_text()
    assert "<svg" in page and "GRPO" in page.upper() and 'src="http' not in page and "http-equiv" not in page


def test_the_report_is_watched_while_the_run_goes_on(followed):
    output, printed, pages = followed
    assert f"watch it learn: {(output / 'report.html').as_uri()}" in printed.splitlines()
    titles = list(dict.fromkeys(re.search(r"<h1>(.*)</h1>", page)[1] for page in pages))
    print(titles)
    trained = "(SFT|GRPO) is at step"
    # preflight may end before the first page is written, which comes after lib/live.PACE_S
    for told in ("evaluate-base is running", trained, "evaluate-grpo is running"):
        assert any(re.match(f"Not finished: {told}", title) for title in titles), told
    assert all('http-equiv="refresh"' in page for page in pages if "Not finished" in page)
    last = [page for page in pages if "Not finished: evaluate-grpo" in page][-1]
    for told in ("Right answers so far", "Training curves, SFT", "Training curves, GRPO", "What it wrote in step"):
        assert told in last, told


def test_a_second_run_finds_nothing_to_do(finished):
    """The recipe that a run has written is given back to it."""
    output, _ = finished
    done = run(output, recipe=output / "recipe.yaml")
    assert done.returncode == 0 and "no-change: nothing has changed since champion" in done.stdout
    assert json.loads((output / "summary.json").read_text())["ending"] == "no-change"


def test_a_failing_step_is_named_with_its_reason(tmp_path):
    done = run(tmp_path, **{**SMALL, "standardize_max_tokens": 16, "stages": "sft"})
    assert done.returncode == 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ending"] == "failed" and summary["failed_step"] == "standardize"
    assert "standardize failed: ValueError:" in done.stdout
    page = (tmp_path / "report.html").read_text()
    assert "<h1>Failed: standardize failed: ValueError:" in page and "http-equiv" not in page


@needs_gsm8k
def test_real_gsm8k_rows_by_set_alone(tmp_path):
    """The same pipeline on real rows, by `--set` alone; a tiny model learns nothing of them in two steps."""
    sources = [
        {"path": str(GSM8K / "train.jsonl"), "adapter": "gsm8k", "cap": 300},
        {"name": "worked", "path": str(GSM8K / "train.jsonl"), "adapter": "gsm8k", "use": "sft", "cap": 64},
    ]
    evaluation = [{"path": str(GSM8K / "test.jsonl"), "adapter": "gsm8k"}]
    sizes = SMALL | {"sft_max_steps": 2, "evaluate_problems": 8, "evaluate_gate_problems": 8}
    done = run(
        tmp_path, sources=json.dumps(sources), evaluation=json.dumps(evaluation), standardize_max_tokens=2000,
        sft_max_tokens=2000, sft_batch_size=4, sft_micro_batch_size=2, evaluate_protocols="zero-shot", **sizes,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ending"] == "rejected" and summary["model"] is None
    assert [r["n"] for r in summary["results"]] == [8, 8, 8]
