"""`pipeline.py run` is ended in every way that a machine knows: nothing is left running, and the next run goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.lib.registry import lock
from components.lib.registry.outcome import read_outcomes
from components.lib.registry.store import open_store
from tests import ROOT
from tests.fixtures.processes import left_running, until

TINY = {
    "stages": "sft", "sft_max_steps": 40, "training_save_minutes": 0.01, "evaluate_problems": 4,
    "evaluate_gate_problems": 4, "evaluate_max_new_tokens": 8, "evaluate_protocols": "zero-shot",
}  # fmt: skip
SOON_S = 30  # in which all processes of a run are gone
WAIT_S = 600


def command(output: Path, **changes) -> list[str]:
    sets = [f"--set={name}={value}" for name, value in changes.items()]
    return [sys.executable, str(ROOT / "pipeline.py"), "run", "--recipe", "tiny", "--output", str(output), *sets]


class Run:
    """A run in a process group of its own, as a terminal makes it."""

    def __init__(self, output: Path, printed: Path | None = None, **changes) -> None:
        self.output, self.printed = output, printed or output.with_suffix(".txt")
        with self.printed.open("w") as file:
            self.process = subprocess.Popen(
                command(output, **changes), stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def wait_for(self, found) -> None:
        give_up = time.monotonic() + WAIT_S
        while not found():
            assert self.process.poll() is None and time.monotonic() < give_up, self.text
            time.sleep(0.05)

    def wait_for_step(self, step: str, text: str = "") -> None:
        """Until a step of this run has a record, and its lines in the log hold `text`."""
        pattern = f"registry/runs/*/record/{step}.json"
        before = set(self.output.glob(pattern))
        self.wait_for(lambda: set(self.output.glob(pattern)) - before and text in self.text)

    def end(self, number: int, *, group: bool = False) -> int:
        (os.killpg if group else os.kill)(self.process.pid, number)
        return self.process.wait(WAIT_S)

    @property
    def text(self) -> str:
        return self.printed.read_text(errors="replace")

    def line(self, part: str) -> str:
        return next(line for line in self.text.splitlines() if part in line)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.fault("pipeline.py run is ended by SIGTERM, SIGHUP or SIGKILL in a step")
def test_no_step_outlives_the_run_and_the_next_one_goes_on(tmp_path, seen):
    output = tmp_path / "out"
    run = Run(output, **TINY)
    run.wait_for_step("standardize")
    assert left_running(output)  # so that an empty list below says something
    assert run.end(signal.SIGTERM) == 143
    assert not left_running(output) and not (output / ".reserve").exists()
    seen(run.line("failed: standardize"), fault="SIGTERM to pipeline.py run while it standardizes")

    run = Run(output, **TINY)
    run.wait_for_step("sft", "saved step")
    run.end(signal.SIGKILL)
    until(lambda: not left_running(output), lambda: run.text, SOON_S)

    run = Run(output, **TINY)
    run.wait_for_step("sft", "going on from step")
    seen(
        f"{run.line('was killed')} {run.line('going on from step')}",
        fault="SIGKILL of pipeline.py run while SFT trains",
    )
    run.wait_for_step("evaluate-sft")
    assert run.end(signal.SIGHUP, group=True) == 129  # as a terminal does that is closed
    assert not left_running(output)
    seen(run.line("failed: evaluate"), fault="the terminal is closed (SIGHUP) while a checkpoint is evaluated")

    run = Run(output, **TINY)
    assert run.process.wait(WAIT_S) == 0, run.text
    assert run.line("has ended before")
    outcomes = read_outcomes(open_store(str(output / "registry")))
    steps = [(outcome.failed_step or "").partition("-")[0] for outcome in outcomes]
    assert steps == ["standardize", "sft", "evaluate", ""]
    assert [outcome.ending for outcome in outcomes] == ["failed"] * 3 + ["rejected"]
    assert json.loads((output / "summary.json").read_text())["ending"] == "rejected"


@pytest.mark.slow
@pytest.mark.fault("Ctrl-C in pipeline.py run, and a second run into its output")
def test_ctrl_c_ends_a_run_with_its_outcome_and_no_traceback(tmp_path, seen):
    output = tmp_path / "out"
    run = Run(output, **TINY)
    run.wait_for_step("standardize", "standardize: evaluation for problems:")
    before = {path: path.read_bytes() for path in (output / "recipe.yaml", output / ".run.lock")}
    second = subprocess.run(command(output, seed=7), capture_output=True, text=True, check=False)
    assert second.returncode == 2 and len(second.stderr.splitlines()) == 1, second.stderr
    assert {path: path.read_bytes() for path in before} == before
    seen(second.stderr, fault="a second run into the --output of a living one")
    assert run.end(signal.SIGINT, group=True) == 130
    assert "Traceback" not in run.text and not left_running(output)
    seen(run.line("failed: "), fault="Ctrl-C while a step runs")
    (outcome,) = read_outcomes(open_store(str(output / "registry")))
    assert outcome.ending == "failed" and "was ended by" in outcome.sentence


@pytest.mark.slow
@pytest.mark.fault("the volume of --output fills up while a step works")
def test_a_full_volume_is_named_in_the_summary(volume, tmp_path, seen):
    volume.remount("size=3g")
    output = volume.path / "out"
    run = Run(output, tmp_path / "printed", **TINY)
    run.wait_for_step("standardize")
    volume.remount(f"size={shutil.disk_usage(volume.path).used + 8192}")
    assert run.process.wait(WAIT_S) == 1, run.text
    summary = json.loads((output / "summary.json").read_text())
    assert summary["ending"] == "failed" and "No space left on device" in summary["reason"], summary
    assert str(volume.path) in summary["reason"] and "free some space there" in summary["reason"]
    registry = open_store(str(output / "registry"))
    assert [outcome.ending for outcome in read_outcomes(registry)] == ["failed"]
    assert lock.current(registry).value["released"]
    seen(f"failed: {summary['reason']}")


BROKEN = {
    "stdout and stderr are closed": (">&- 2>&-", {}),
    "the output is piped into head": ("| head -n 1", {}),
    "TMPDIR is missing": ("", {"TMPDIR": "/nowhere/at/all"}),
    "the locale is C": ("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.fault("a broken console or environment of pipeline.py run")
def test_a_broken_console_never_ends_a_run(fault, tmp_path, seen):
    """The run ends for its own reason; the working directory holds a folder `components` that is not ours."""
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "__init__.py").write_text("raise SystemExit('a foreign package')")
    output, (shell, environment) = tmp_path / "aus gäbe", BROKEN[fault]
    line = " ".join(f"'{part}'" for part in command(output, model="/nowhere/model"))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{line} {shell}"], cwd=tmp_path, env=env | environment, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr.decode()[-2000:]
    summary = json.loads((output / "summary.json").read_text())
    assert summary["ending"] == "failed" and "/nowhere/model" in summary["reason"]
    log = (output / "run.log").read_text(encoding="utf-8")
    assert "RecursionError" not in log and "foreign package" not in log and "Executing task" in log
    assert len(read_outcomes(open_store(str(output / "registry")))) == 1
    seen(f"{summary['ending']}: {summary['reason']}", fault=fault)
