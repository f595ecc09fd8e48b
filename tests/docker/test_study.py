"""A study in containers: its folder is what they see, so what the runs share is done once there too."""

import os
import subprocess
import sys

import pytest

from components.lib.files import read_json
from tests import ROOT
from tests.docker.test_images import engine  # noqa: F401  skips without a Docker engine and both images
from tests.pipeline.test_study import CHANGES, STUDY

pytestmark = pytest.mark.docker


def test_a_study_runs_in_containers_and_shares_what_does_not_differ(tmp_path):
    path, output = tmp_path / "mine.yaml", tmp_path / "out"
    path.write_text(STUDY.replace("[0, 1]", "[0]"))
    sets = [f"--set={name}={value}" for name, value in CHANGES.items()]
    command = [sys.executable, "pipeline.py", "study", str(path), "--runner", "docker", "--output", str(output), *sets]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = read_json(output / "study.json")
    assert [row["ending"] for row in found["runs"]] == ["measured", "measured"]
    assert done.stdout.count("an earlier run of the study has done this very work") == 3
