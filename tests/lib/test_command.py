"""The command lines of the stages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.gate.gate import run_gate
from components.lib.command import chosen_settings, main, make_parser
from components.lib.recipe import schema
from components.lib.registry.plan import Plan
from tests import ROOT


def double(*, data: Path, cap: int, note: str | None, settings: schema.Gate) -> dict[str, float]:
    """Return what was given."""
    if cap < 0:
        raise ValueError(f"cap is {cap}; give 0 or more")
    return {"cap": 2 * cap, "alpha": settings.alpha, "lines": len(data.read_text().splitlines()), "none": note is None}


def test_flags_settings_and_numbers(tmp_path, capsys):
    (tmp_path / "f").write_text("a\nb\n")
    arguments = ["--data", str(tmp_path / "f"), "--cap", "3", "--set", "alpha=0.5"]
    assert main("gate", double, arguments) == 0
    assert capsys.readouterr().out == "alpha = 0.5\ncap = 6\nlines = 2\nnone = True\n"


def test_a_value_error_is_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / "f").write_text("")
    assert main("gate", double, ["--data", str(tmp_path / "f"), "--cap", "-1"]) == 2
    assert capsys.readouterr().err == "components.gate: cap is -1; give 0 or more\n"


def test_only_the_stages_own_settings_can_be_set():
    assert chosen_settings("gate", "settings", "tiny", ["margin=0.1"]).margin == 0.1
    with pytest.raises(ValueError, match="write NAME=VALUE with one of margin"):
        chosen_settings("gate", "settings", "tiny", ["learning_rate=1"])


def test_every_argument_of_a_stage_is_a_flag():
    flags = {action.dest for action in make_parser("gate", run_gate)._actions}
    assert {"base", "candidate", "registry", "decision_out", "recipe", "set"} <= flags


def test_preflight_writes_a_plan_that_reads_back(tmp_path):
    command = [
        sys.executable,
        "-m",
        "components.preflight",
        "--set",
        f"registry={tmp_path}/registry",
        "--output",
        tmp_path,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Plan.read((tmp_path / "plan.json").read_text()).model == "tiny"
    assert json.loads((tmp_path / "recipe.json").read_text())["name"] == "tiny"


def test_preflight_refuses_an_empty_registry_in_one_line(tmp_path):
    command = [sys.executable, "-m", "components.preflight", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("components.preflight: registry is empty;")
    assert done.stderr.count("\n") == 1
