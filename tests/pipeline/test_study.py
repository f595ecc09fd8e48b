"""A study through KFP's local runner: two variants, two seeds, killed in the middle; what they share is done once."""

import os
import signal
import subprocess
import sys

import pytest

from components.lib.files import read_json
from tests import ROOT
from tests.fixtures.processes import left_running, until
from tests.pipeline.test_end_to_end import SMALL

pytest.importorskip("torch", reason="needs torch: nothing is trained")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
WAIT_S = 900
STUDY = """recipe: tiny
variants:
  base: {}
  sft: {stages: [sft]}
  sft+grpo: {}
seeds: [0, 1]
"""
CHANGES = SMALL | {"sft_max_steps": 4, "evaluate_problems": 8, "evaluate_protocols": "zero-shot",
                   "training_save_minutes": 0, "grpo_max_steps": 8}  # fmt: skip
RUNS = [(variant, seed) for seed in (0, 1) for variant in ("sft", "sft+grpo")]


def start(path, output, log):
    sets = [f"--set={name}={value}" for name, value in CHANGES.items()]
    command = [sys.executable, "pipeline.py", "study", str(path), "--output", str(output), *sets]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The output of a study that was killed while its second run trained by GRPO, and what both starts printed."""
    folder = tmp_path_factory.mktemp("study")
    path, output, logs = folder / "mine.yaml", folder / "out", [folder / "first.log", folder / "second.log"]
    path.write_text(STUDY)
    second = output / "runs" / "sft+grpo" / "0"
    with logs[0].open("w") as log:
        process = start(path, output, log)
    until(lambda: any((output / "checkpoints").glob("grpo-*/step-*")) or process.poll(), logs[0].read_text, WAIT_S)
    assert process.poll() is None, logs[0].read_text()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not left_running(second), lambda: left_running(second))
    with logs[1].open("w") as log:
        assert start(path, output, log).wait(WAIT_S) == 0, logs[1].read_text()
    return output, *(log.read_text() for log in logs)


def test_a_killed_study_goes_on_with_the_run_that_was_under_way(studied):
    output, first, second = studied
    assert "run 2 of 4: sft+grpo, seed 0" in first and "run 1 of 4" not in second
    told = [line for line in second.splitlines() if line.startswith("study mine: run ")]
    assert told[0].startswith("study mine: run 2 of 4: sft+grpo, seed 0; left: about") and len(told) == 3
    ended = {}
    for variant, seed in RUNS:
        outcomes = (output / "registry" / "studies" / "mine" / variant / str(seed)).glob("runs/*/outcome.json")
        ended[variant, seed] = sorted(read_json(path)["ending"] for path in outcomes)
    assert ended == {run: ["measured"] for run in RUNS} | {("sft+grpo", 0): ["failed", "measured"]}
    assert "going on from step" in second, "inside the training"


def test_what_the_runs_share_was_done_once(studied):
    output, _, _ = studied
    made = [path.name.partition("-")[0] for path in (output / "shared").iterdir()]
    assert sorted(made) == ["evaluate"] * 5 + ["standardize"], "the base, and two checkpoints with each seed"
    done = {}
    for variant, seed in RUNS:
        log = (output / "runs" / variant / str(seed) / "run.log").read_text()
        done[variant, seed] = log.count("an earlier run of the study has done this very work")
    assert done == {("sft", 0): 0, ("sft+grpo", 0): 3, ("sft", 1): 2, ("sft+grpo", 1): 3}
    trained = [path.name.partition("-")[0] for path in (output / "checkpoints").iterdir()]
    assert sorted(name for name in trained if name in ("sft", "grpo")) == ["grpo", "grpo", "sft", "sft"]


def test_the_report_has_all_runs_and_claims_nothing_of_two_seeds(studied):
    output, _, second = studied
    found = read_json(output / "study.json")
    assert [(row["variant"], row["seed"], row["ending"]) for row in found["runs"]] == [
        (*run, "measured") for run in RUNS
    ]
    assert {row["variant"] for row in found["accuracies"]} == {"base", "sft", "sft+grpo"}
    assert all(len(row["differences"]) == 2 and not row["claimed"] for row in found["comparisons"])
    assert found["costs"][1]["train_seconds"] > found["costs"][0]["train_seconds"] > 0
    assert second.rstrip().endswith(f"report: {output / 'study.html'}")
    assert "not come to their end" not in str(found["warnings"])
