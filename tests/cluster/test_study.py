"""A study as runs of one experiment on a cluster: its command is killed and started again."""

import json
import os
import re
import subprocess
import time

import pytest

from components.lib.cluster.api import connect
from components.lib.cluster.submit import newest_runs
from components.lib.registry.record import read_records
from components.lib.registry.store import open_store
from tests import ROOT
from tests.cluster.runs import NAMESPACE
from tests.fixtures import studies

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(5400)]

STUDY_S = 5000


def test_a_study_is_killed_and_its_runs_are_found_again(endpoint, tmp_path):
    if "S3_ENDPOINT" not in os.environ:
        pytest.skip("needs S3_ENDPOINT, the bucket as this machine sees it: no study is started on a cluster")
    name = f"small-{time.strftime('%H%M%S')}"
    registry = f"s3://mlpipeline/{name}"
    cluster = {"registry": registry, "cluster_gpus": 0, "training_save_minutes": 10}
    asked = studies.command(tmp_path / name, "--cluster", "--parallel", "2", seeds=(0, 1), **cluster)
    before = studies.killed(asked, " s] sft, seed 0", tmp_path / "before.txt")
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False, timeout=STUDY_S)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    print(before, done.stdout)
    assert re.search("sft, seed 0: is at work already, as run ", done.stdout)
    runs = newest_runs(connect(endpoint, NAMESPACE), name, NAMESPACE)
    assert len(runs) == 4 and {run.state for run in runs.values()} == {"SUCCEEDED"}
    found = json.loads((tmp_path / name / "study.json").read_text())
    assert {row["variant"]: len(row["seeds"]) for row in found["accuracies"]} == {"sft": 2, "both": 2}
    trained = [
        (variant, seed)
        for variant in ("sft", "both")
        for seed in (0, 1)
        for store in [open_store(f"{registry}/studies/{name}/{variant}/{seed}")]
        for record in read_records(store, run_in(store))
        if record["step"] == "sft"
    ]
    assert len(trained) == 2, f"KFP's cache has the SFT of one variant for the other: {trained}"


def run_in(store):
    """The run whose outcome a registry of one run has."""
    (outcome,) = [name for name in store.keys("runs/") if name.endswith("/outcome.json")]
    return outcome.split("/")[1]
