"""The demo learns: base < SFT < GRPO on held-out problems, each step significant."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

# What the README's table has besides.
MORE_SEEDS = [pytest.param("tiny", seed, marks=pytest.mark.release) for seed in (1, 2)]


@pytest.mark.parametrize(
    ("recipe", "seed"),
    [
        pytest.param("tiny", 0, marks=pytest.mark.slow),
        pytest.param("tests/pipeline/choice.yaml", 0, marks=pytest.mark.slow, id="letters"),
        *MORE_SEEDS,
    ],
)
def test_the_demo_learns(tmp_path, recipe, seed):
    """The letters too: of a kind that is no number, by the same reward and gate."""
    command = [
        sys.executable,
        "pipeline.py",
        "run",
        "--recipe",
        recipe,
        f"--set=seed={seed}",
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    print(done.stdout)
    summary = json.loads((tmp_path / "summary.json").read_text())
    base, sft, grpo = (r for r in summary["results"] if r["protocol"] == "zero-shot")
    assert (base["checkpoint"], sft["checkpoint"], grpo["checkpoint"]) == ("base", "sft", "grpo")
    assert base["accuracy"] < sft["accuracy"] < grpo["accuracy"]
    assert sft["p_value"] < 0.01 and grpo["p_value"] < 0.01
    assert summary["ending"] == "promoted" and Path(summary["model"]).is_dir()
