"""The recipe qwen3.5-0.8b, sizes apart, against a local server that speaks the Hub's protocol."""

import json
import os
import subprocess
import sys

import pytest

from tests import ROOT
from tests.fixtures.hub_rows import serve_true_schemas
from tests.fixtures.hub_server import HubServer

SIZES = {
    "sft_max_steps": 2, "sft_batch_size": 4, "sft_micro_batch_size": 2, "grpo_max_steps": 2,
    "grpo_prompts_per_step": 2, "grpo_generations": 4, "grpo_micro_batch_size": 4, "grpo_max_new_tokens": 24,
    "grpo_plateau_steps": 1, "grpo_plateau_problems": 2, "evaluate_problems": 6, "evaluate_gate_problems": 6,
    "evaluate_max_new_tokens": 24, "standardize_gate_share": 0.2, "standardize_plateau_share": 0.1,
    "compare_bootstrap_samples": 200,
    "grpo_screen_samples": 0,  # in two steps the embedded model has not learned to solve any of these problems
}  # fmt: skip


@pytest.mark.slow
def test_the_real_recipe_runs_against_a_hub(tmp_path):
    with HubServer() as server:
        serve_true_schemas(server)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
            "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        sets = [f"--set={name}={value}" for name, value in SIZES.items()]
        command = [sys.executable, "pipeline.py", "run", "--recipe", "qwen3.5-0.8b", "--output", str(tmp_path / "out")]
        done = subprocess.run([*command, *sets], cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["ending"] in ("promoted", "rejected")
    assert {r["protocol"] for r in summary["results"]} == {"zero-shot", "8-shot", "8-shot-think"}
    plan = json.loads(
        json.loads(next((tmp_path / "out").glob("registry/runs/*/record/preflight.json")).read_text())["details"][
            "plan"
        ]
    )
    assert len(plan["revision"]) == 40 and all(len(source["revision"]) == 40 for source in plan["sources"])
