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


GIB = 2**30
V2 = {"cgroup/a/b/memory.max": "max", "cgroup/a/b/memory.current": GIB, "cgroup/a/memory.max": 3 * GIB,
      "cgroup/a/memory.current": 2 * GIB, "cgroup/a/memory.stat": f"anon 5\ninactive_file {GIB}"}  # fmt: skip
V1 = {"cgroup/memory/memory.limit_in_bytes": 4 * GIB, "cgroup/memory/memory.usage_in_bytes": 3 * GIB,
      "cgroup/memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB // 2}"}  # fmt: skip
UNLIMITED = {"cgroup/memory/memory.limit_in_bytes": 2**63 - 4096, "cgroup/memory/memory.usage_in_bytes": GIB}


@pytest.mark.parametrize(
    ("groups", "files", "gib"),
    [
        ("0::/a/b", V2, 2.25),
        ("4:cpu,memory:/not/seen/from/a/container\n0::/", V1, 1.75),
        ("4:memory:/", UNLIMITED, 8.25),
        ("0::/", {}, 8.25),
    ],
    ids=["a parent's limit, version 2", "version 1", "no limit", "no files"],
)
def test_the_memory_is_the_machines_or_the_cgroups(tmp_path, monkeypatch, groups, files, gib):
    """What this process has is its own; what only copies files is free."""
    told = {"proc/meminfo": f"MemTotal: 16 kB\nMemAvailable:  {8 * 2**20} kB\nHugePages_Total: 0",
            "proc/self/status": f"Name:\tpython\nRssAnon:\t {2**18} kB", "proc/self/cgroup": groups}  # fmt: skip
    for name, text in (told | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    assert machine.memory_gib() == gib
    monkeypatch.setattr(machine, "PROC", tmp_path / "none")
    assert machine.memory_gib() is None


def test_the_memory_of_this_machine():
    found = machine.memory_gib()
    assert found is None or 0.05 < found < 2**14


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(), OSError(12, "Cannot allocate memory"), RuntimeError("std::bad_alloc"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:83] data. DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)  # fmt: skip
def test_the_ways_in_which_memory_runs_out(error):
    assert machine.out_of_memory(error)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("CUDA error"), ValueError("x")])
def test_what_is_no_lack_of_memory(error):
    assert not machine.out_of_memory(error)


def test_the_steps_with_a_model():
    names = ("preflight", "sample", "standardize", "sft", "grpo", "evaluate-base", "evaluate-grpo", "compare", "gate")
    assert [name for name in names if is_heavy(name)] == ["sample", "sft", "grpo", "evaluate-base", "evaluate-grpo"]


def test_threads_fit_the_model_and_the_idle_cpus(monkeypatch):
    monkeypatch.setattr(machine, "_quota", lambda: 64)
    monkeypatch.setattr(machine, "LOOK_S", 0)
    large, ticks = machine.SMALL_BYTES, [0.0] * 8

    def look():  # ticks that each CPU has worked, and all of them, 100 between two looks
        look.number += 1
        return {cpu: (int((100 - busy) * look.number), 100 * look.number) for cpu, busy in enumerate(ticks)}

    look.number = 0
    monkeypatch.setattr(machine, "_cpu_times", look)
    assert [machine.threads(weights) for weights in (0, large - 1, large, None)] == [1, 1, 8, 8]
    ticks[:5] = [100, 100, 90, 60, 100]
    assert machine.threads(large) == 4
    ticks[:] = [100] * 8
    assert machine.threads(large) == 1
    ticks[:] = [0] * 8
    monkeypatch.setattr(machine, "_quota", lambda: 2)
    assert machine.threads(large) == 2


def test_the_times_of_the_cpus_that_may_be_used(monkeypatch, tmp_path):
    (tmp_path / "stat").write_text(
        "cpu  9 0 9 90 9 0 0 0 0 0\ncpu0 1 2 3 40 5 6 7 8 1 1\ncpu1 9 0 0 1 0 0 0 0 0 0\nintr 5\n"
    )
    monkeypatch.setattr(machine, "PROC", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0})
    assert machine._cpu_times() == {0: (45, 72)}
