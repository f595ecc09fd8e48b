"""The chain of docs/stages.md, as it stands there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.documents import commands_of


@pytest.mark.slow
def test_the_chain_of_stages_leaves_what_its_page_names(tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    script = "\n".join(command.text for command in commands_of("docs/stages.md") if not command.inline)
    assert script.count("python -m components.") == 4
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    stages = tmp_path / "stages"
    for name in (
        "plan/plan.json", "plan/recipe.json", "plan/fingerprint.txt", "data/sft.jsonl", "data/problems.jsonl",
        "data/plateau.jsonl", "data/rejects.jsonl", "data/summary.html", "sft/model.safetensors",
        "sft-curves/curves.jsonl", "sft-curves/tensorboard", "evaluate-sft/items.jsonl",
    ):  # fmt: skip
        assert (stages / name).exists(), name
    results = json.loads((stages / "evaluate-sft" / "summary.json").read_text())["results"]
    assert {(result["split"], result["n"]) for result in results} == {("evaluation", 40), ("gate", 40)}
