"""The command lines of the stages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.gate.gate import run_gate
from components.lib.command import main, make_parser
from components.lib.recipe import schema
from components.lib.registry.plan import Plan
from components.lib.training.supervise import train
from tests import ROOT

STEPS = sorted(path.parent.name for path in (ROOT / "components").glob("*/component.py"))


def double(*, rows: Path, cap: int, note: str | None, settings: schema.Gate) -> dict[str, float]:
    """Return what was given."""
    if cap < 0:
        raise ValueError(f"cap is {cap}; give 0 or more")
    return {"cap": 2 * cap, "alpha": settings.alpha, "lines": len(rows.read_text().splitlines()), "none": note is None}


def test_flags_settings_and_numbers(tmp_path, capsys):
    (tmp_path / "f").write_text("a\nb\n")
    arguments = ["--rows", str(tmp_path / "f"), "--cap", "3", "--set", "alpha=0.5"]
    assert main("gate", double, arguments) == 0
    assert capsys.readouterr().out == "alpha = 0.5\ncap = 6\nlines = 2\nnone = True\n"


def test_a_value_error_is_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / "f").write_text("")
    assert main("gate", double, ["--rows", str(tmp_path / "f"), "--cap", "-1"]) == 2
    assert capsys.readouterr().err == "components.gate: cap is -1; give 0 or more\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("learning_rate=1", "write NAME=VALUE with one of candidate, margin"),
        ("grpo_learning_rate=1", "write NAME=VALUE with one of candidate, margin"),
        ("margins=1", "write NAME=VALUE with one of margin"),
        ("margin", "write NAME=VALUE"),
        ("margin=2", "--set gate_margin=2: margin: 2.0 is too large; it must be at most 1"),
    ],
)
def test_only_the_stages_own_settings_can_be_set(change, said, tmp_path, capsys):
    (tmp_path / "f").write_text("")
    assert main("gate", double, ["--rows", str(tmp_path / "f"), "--cap", "1", "--set", change]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_a_setting_has_its_short_and_its_full_name(tmp_path, capsys):
    (tmp_path / "f").write_text("")
    for name in ("alpha", "gate_alpha"):
        assert main("gate", double, ["--rows", str(tmp_path / "f"), "--cap", "1", "--set", f"{name}=0.5"]) == 0
        assert "alpha = 0.5" in capsys.readouterr().out


def test_an_argument_may_be_one_setting_of_another_stage(capsys):
    def shown(*, seed: int, settings: schema.Sft, gate_candidate: str = "last") -> dict[str, str]:
        """Return what was given."""
        return {"candidate": gate_candidate}

    chosen = ["--set", "gate_candidate=best", "--set", "grpo_plateau_steps=5"]
    assert main("sft", shown, ["--seed", "1"]) == 0 and capsys.readouterr().out == "candidate = last\n"
    assert main("sft", shown, ["--seed", "1", *chosen[:2]]) == 2
    assert "grpo_plateau_steps=0 never measures it" in capsys.readouterr().err
    assert main("sft", shown, ["--seed", "1", *chosen]) == 2
    assert "--set grpo_plateau_steps=5: write NAME=VALUE with one of" in capsys.readouterr().err


def test_the_recipe_may_be_a_file(tmp_path, capsys):
    (tmp_path / "f").write_text("")
    (tmp_path / "mine.yaml").write_text("base: tiny\ngate: {alpha: 0.25}\n")
    assert main("gate", double, ["--rows", str(tmp_path / "f"), "--cap", "1", "--recipe", f"{tmp_path}/mine.yaml"]) == 0
    assert "alpha = 0.25" in capsys.readouterr().out


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_a_command_whose_flags_are_told(step):
    done = subprocess.run(
        [sys.executable, "-m", f"components.{step}", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"usage: python -m components.{step}")


def test_every_argument_of_a_stage_is_a_flag():
    actions = make_parser("gate", run_gate, "tiny", {})._actions
    assert {"base", "candidate", "registry", "decision_out", "recipe", "set"} <= {action.dest for action in actions}
    assert all(action.help for action in actions)


def test_every_flag_of_a_training_is_told():
    assert all(action.help for action in make_parser("sft", train, "tiny", {})._actions)


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
