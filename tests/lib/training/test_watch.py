"""What is seen of a training: TensorBoard, W&B and trackio files by the real packages, a bar on a real terminal."""

import fcntl
import os
import pty
import re
import sqlite3
import struct
import subprocess
import sys
import termios
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="needs torch: no training is watched")

from components.lib.training import watch
from components.lib.training.checkpoints import TrainingDir
from components.lib.training.watch import Recorder, progress_line
from tests import ROOT
from tests.lib.training.runs import SMALL, finish, start


def scalars(directory, tag):
    """Step and value of a scalar in TensorBoard's event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


LIVE = ROOT / ".cache" / "live"  # W&B and trackio, by `make live`


@pytest.mark.skipif(not (LIVE / "ready").exists(), reason="needs the trackers (`make live`): neither is told anything")
def test_live_metrics_go_to_tensorboard_and_to_the_trackers_whose_variable_is_set(data, tmp_path, monkeypatch):
    for name, value in {
        "PYTHONPATH": f"{os.environ.get('PYTHONPATH', ROOT)}{os.pathsep}{LIVE}",
        "TRACKIO_DIR": str(tmp_path / "trackio"), "WANDB_API_KEY": "a" * 40, "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path), "WANDB__SERVICE_WAIT": "200",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    printed = finish(start("sft", data, tmp_path, max_steps=4))
    found = scalars(tmp_path / "curves" / "tensorboard", "train/loss")
    assert [step for step, _ in found] == [1, 2, 3, 4] and all(value > 0 for _, value in found)
    with sqlite3.connect(tmp_path / "trackio" / "grpo-pipeline.db") as database:
        rows = [str(row) for row in database.execute("select cast(metrics as text) from metrics")]
    assert sum("train/loss" in row for row in rows) == 4
    assert list(tmp_path.glob("wandb/offline-run-*-sft-*/run-*.wandb")), printed


def test_a_tracker_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(watch, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="WANDB_API_KEY is set, but wandb is not installed; install the extra live"):
        watch.reporting_arguments(TrainingDir(tmp_path))


def test_without_the_variables_there_is_tensorboard_alone(data, tmp_path, monkeypatch):
    for name in ("TRACKIO_DIR", "TRACKIO_SPACE_ID", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    printed = finish(start("sft", data, tmp_path, max_steps=2))
    assert "wandb" not in printed.lower() and "trackio" not in printed.lower()
    assert len(scalars(tmp_path / "curves" / "tensorboard", "train/learning_rate")) == 2


@pytest.mark.slow
def test_a_terminal_gets_a_bar_with_reward_length_and_time_left(data, sft, tmp_path):
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    command = [sys.executable, "-m", "components.grpo", "--model", str(sft[0] / "model"), "--revision", "main"]
    command += ["--data", str(data), "--model-out", str(tmp_path / "m"), "--curves-out", str(tmp_path / "c")]
    command += ["--seed", "0", *(f"--set={name}={value}" for name, value in SMALL["grpo"].items())]
    with subprocess.Popen(command, cwd=ROOT, stdout=terminal, stderr=terminal, close_fds=True) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                shown += os.read(master, 4096)
            except OSError:  # the other end is closed
                break
    os.close(master)
    assert process.returncode == 0
    assert re.search(rb"12/12 \[.*reward [\d.]+  correct [\d.]+  completion length \d+", shown), shown[-2000:]


def test_progress_lines_and_means(tmp_path, capsys):
    state = SimpleNamespace(is_world_process_zero=True, global_step=0, max_steps=20)
    recorder = Recorder(tmp_path, {"loss": "loss", "reward": "reward"}, ("reward",))
    recorder.on_train_begin(None, state, None)
    for step in range(1, 21):
        state.global_step = step
        recorder.on_log(None, state, None, {"loss": 1 / step, "reward": step / 10, "other": 5})
    recorder.on_log(None, state, None, {"train_runtime": 3})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("step 1/20  reward 0.1") and printed[-1].startswith("step 20/20  reward 2  ")
    assert len(recorder.rows) == 20 and set(recorder.rows[0]) == {"step", "loss", "reward", "seconds"}
    assert recorder.mean("reward", last=True) == pytest.approx(1.95)
    assert recorder.mean("reward", last=False) == pytest.approx(0.15)
    assert len(Path(tmp_path, "curves.jsonl").read_text().splitlines()) == 20


def test_a_resumed_run_goes_on_with_its_rows_and_its_clock(tmp_path):
    state = SimpleNamespace(is_world_process_zero=True, global_step=1, max_steps=4)
    (tmp_path / "curves.jsonl").write_text('{"step": 1, "loss": 2.0, "seconds": 100.0}\n')
    recorder = Recorder(tmp_path, {"loss": "loss"}, ("loss",))
    recorder.on_train_begin(None, state, None)
    state.global_step = 2
    recorder.on_log(None, state, None, {"loss": 1.0})
    assert [row["step"] for row in recorder.rows] == [1, 2] and 100 <= recorder.seconds < 101


def test_the_time_left_is_of_the_steps_so_far():
    row = {"step": 30, "reward": 0.8234, "seconds": 12.0}
    assert progress_line(row, 60, ("reward",)) == "step 30/60  reward 0.823  12 s, about 12 s left"


def test_what_a_step_does_is_counted_by_the_second_of_the_step_alone(tmp_path, monkeypatch, capsys):
    state = SimpleNamespace(is_world_process_zero=True, global_step=1, max_steps=1)
    clock = iter([0.0, 0.0, 100.0, 104.0, 190.0, 191.0, 191.0])  # at each question
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    work = lambda row: {"rollouts": 8, "tokens": 8 * row["length"]}  # noqa: E731
    recorder = Recorder(tmp_path, {"loss": "loss", "length": "length"}, ("rollouts_per_s", "tokens_per_s"), work)
    recorder.on_train_begin(None, state, None)
    recorder.on_step_begin()
    recorder.on_step_end()
    recorder.on_log(None, state, None, {"loss": 1.0, "length": 1500})
    [row] = recorder.rows
    assert (row["rollouts"], row["tokens"]) == (8, 12000)
    assert (row["rollouts_per_s"], row["tokens_per_s"], row["seconds"]) == (2.0, 3000.0, 190.0)
    assert capsys.readouterr().out == "step 1/1  rollouts/s 2  tokens/s 3,000  190 s, about 0 s left\n"
