"""What a step says of the machine that it ran on."""

import pytest

from components.lib import machine
from components.lib.registry.record import is_heavy

SMI = """#!/bin/sh
[ "$*" = "--query-gpu=index,uuid,name,driver_version --format=csv,noheader" ] || exit 1
echo "0, GPU-aaaa-1111, NVIDIA GeForce RTX 5090, 580.65.06"
echo "1, GPU-bbbb-2222, NVIDIA RTX A4000, 580.65.06"
"""


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """A program that prints as nvidia-smi does for two GPUs."""
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["NVIDIA GeForce RTX 5090", "NVIDIA RTX A4000"]),
        ("1", ["NVIDIA RTX A4000"]),
        ("GPU-aaaa", ["NVIDIA GeForce RTX 5090"]),
        ("", []),
        ("-1", []),
    ],
)
def test_the_gpus_are_those_that_the_process_may_use(gpus, monkeypatch, visible, names):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = machine.describe(heavy=True)
    assert found["gpus"] == names and found["driver"] == ("580.65.06" if names else None)
    assert machine.describe(heavy=False)["gpus"] == [], "a step without a model uses none"


def test_without_a_gpu_none_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpus() == {"gpus": [], "driver": None}


def test_the_commit_is_the_images_or_the_checkouts(monkeypatch):
    monkeypatch.setenv("GRPO_COMMIT", "c" * 40)
    assert machine.commit() == "c" * 40
    monkeypatch.delenv("GRPO_COMMIT")
    found = machine.commit()
    assert found is None or len(found.removesuffix("-dirty")) == 40


def test_the_steps_with_a_model():
    names = ("preflight", "sample", "standardize", "sft", "grpo", "evaluate-base", "evaluate-grpo", "compare", "gate")
    assert [name for name in names if is_heavy(name)] == ["sample", "sft", "grpo", "evaluate-base", "evaluate-grpo"]


def test_threads_fit_the_model_and_the_idle_cpus(monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(machine, "_quota", lambda: 64)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (0.2, 0, 0))
    large = machine.SMALL_BYTES
    assert [machine.threads(weights) for weights in (0, large - 1, large, None)] == [1, 1, 8, 8]
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (5.4, 0, 0))
    assert machine.threads(large) == 3
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (11.0, 0, 0))
    assert machine.threads(large) == 1
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (0.0, 0, 0))
    monkeypatch.setattr(machine, "_quota", lambda: 2)
    assert machine.threads(large) == 2
