"""A study as KFP runs of one experiment: its watching is ended in the middle, what runs share comes from the cache."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from components.lib.cluster.api import connect
from components.lib.cluster.submit import newest_runs
from components.lib.files import read_json
from tests import ROOT
from tests.cluster.runs import NAMESPACE, RUN_S, steps
from tests.fixtures.processes import until
from tests.pipeline.test_end_to_end import SMALL

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2 * RUN_S)]
STUDY = """recipe: tiny
variants:
  base: {}
  sft: {stages: [sft]}
  sft+grpo: {}
seeds: [0, 1]
parallel: 2
"""
CHANGES = SMALL | {"sft_max_steps": 4, "evaluate_problems": 8, "evaluate_protocols": "zero-shot"}


@pytest.fixture(scope="module")
def studied(endpoint, tmp_path_factory):
    """(name, output, what the two starts printed); the first one was ended by Ctrl-C while runs were at work."""
    if "S3_ENDPOINT" not in os.environ:
        pytest.skip("needs S3_ENDPOINT, the bucket as this machine sees it: no run is started on a cluster")
    folder, name = tmp_path_factory.mktemp("study"), f"study-{time.strftime('%H%M%S')}"
    path, output, logs = folder / f"{name}.yaml", folder / "out", [folder / "first.log", folder / "second.log"]
    path.write_text(STUDY)
    sets = [f"--set={field}={value}" for field, value in CHANGES.items()]
    sets.append(f"--set=registry=s3://mlpipeline/{name}")
    command = [sys.executable, "pipeline.py", "study", str(path), "--cluster", "--output", str(output), *sets]

    def start(log):
        return subprocess.Popen(
            command, cwd=ROOT, stdout=log.open("w"), stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    first = start(logs[0])
    until(lambda: "Standardize: running" in logs[0].read_text() or first.poll(), logs[0].read_text, RUN_S)
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130, logs[0].read_text()
    assert start(logs[1]).wait(RUN_S) == 0, logs[1].read_text()
    print(logs[1].read_text())
    return name, output, *(log.read_text() for log in logs)


@pytest.fixture(scope="module")
def found(studied, endpoint):
    """Run of the study -> its KFP run."""
    runs = newest_runs(connect(endpoint, NAMESPACE), studied[0], NAMESPACE)
    return {name.rpartition(" ")[0]: run for name, run in runs.items()}


def test_every_run_is_there_once_and_the_second_start_has_found_the_first(studied, found, endpoint):
    _, _, first, second = studied
    assert first.endswith("what is at work goes on, unwatched; the same command finds it again\n")
    submitted = re.findall(r"^run (.+) \w{8}: [0-9a-f-]{36}$", first + second, re.MULTILINE)
    assert sorted(submitted) == sorted(found) == ["sft+grpo, seed 0", "sft+grpo, seed 1", "sft, seed 0", "sft, seed 1"]
    assert re.search(r"^sft, seed 0: is at work already, as run [0-9a-f-]{36}$", second, re.MULTILINE)
    assert {run.state for run in found.values()} == {"SUCCEEDED"}


def test_the_report_is_made_of_the_registries_in_the_bucket(studied):
    _, output, _, second = studied
    report = read_json(output / "study.json")
    assert [row["ending"] for row in report["runs"]] == ["measured"] * 4
    assert {row["variant"] for row in report["accuracies"]} == {"base", "sft", "sft+grpo"}
    sft, both = report["costs"]
    assert both["train_seconds"] > sft["train_seconds"] > 0, "the SFT that the cache has spared counts for both"
    assert "4 of 4 runs done, 0 at work" in second


def test_what_runs_share_was_done_by_one_of_them(found):
    """Only that one had Pods for it."""
    done = {name: {step: len(pods) for step, pods in steps(run.run_id).items()} for name, run in found.items()}
    always = {"preflight": 1, "compare": 1, "notify": 1}
    assert done["sft, seed 0"] == always | {"standardize": 1, "evaluate": 2, "sft": 1}
    assert done["sft, seed 1"] == always | {"evaluate": 1, "sft": 1}
    assert done["sft+grpo, seed 0"] == done["sft+grpo, seed 1"] == always | {"evaluate": 1, "grpo": 1}
