"""What a step runs on: commit, image, Python, packages, GPUs and memory; no torch here."""

import errno
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.lib import inside
from components.lib.files import PACKAGE

COMMIT_VARIABLE = "GRPO_COMMIT"  # set in the images
VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"
ASK_S = 10
LOOK_S = 0.5  # how long the CPUs are looked at
CHOSEN_VARIABLE = "GRPO_THREADS"  # the threads that `pipeline.py run` chose, unset if the user did
SMALL_BYTES = 40 << 20  # of weights, below which one thread is enough; a guess, see benchmarks/threads.py
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# Of a cgroup: the files of its limit and of what it holds, and what of that the kernel gives back first.
VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
VERSION_2 = ("memory.max", "memory.current", "inactive_file")
MACHINE = "machine.json"  # beside the curves of a training: what it ran on, as `describe` has it
# How torch, CUDA, its libraries, Triton, C++ and the kernel say that memory ran out; the last one is oneDNN's way.
_OF_MEMORY = re.compile(
    r"out of memory|ALLOC_FAILED|can('t|not) allocate memory|not enough memory|bad_alloc|could not create a primitive",
    re.IGNORECASE,
)


def describe(*, heavy: bool) -> dict[str, Any]:
    """Commit, image digest (in a Pod) and Python; of a `heavy` step its GPUs, threads and packages too.

    Heavy is a step that uses a model. What cannot be found out is None or empty.
    """
    found: dict[str, Any] = {"commit": commit(), "image": inside.own_image(), "python": platform.python_version()}
    if not heavy:
        return found | {"gpus": [], "driver": None}
    return found | gpus() | {"threads": os.environ.get("OMP_NUM_THREADS"), "packages": packages()}


def threads(weights: int | None) -> int:
    """How many threads torch should have for a model whose weights have so many bytes, on the CPUs that are idle now.

    None stands for a model that is not here yet, and so is no toy. Threads that share a CPU with other work wait for
    each other; `benchmarks/threads.py` measures how much that costs.
    """
    return 1 if weights is not None and weights < SMALL_BYTES else idle_cpus()


def idle_cpus() -> int:
    """How many CPUs that this process may use rest now, at least 1, in half a second's view.

    The load average still counts what has ended a minute ago, such as the setting up before a first run.
    """
    before = _cpu_times()
    time.sleep(LOOK_S)
    idle = 0.0
    for cpu, (resting, all_) in _cpu_times().items():
        was_resting, was_all = before.get(cpu, (resting, all_))
        idle += (resting - was_resting) / max(1, all_ - was_all)
    return max(1, min(_quota(), int(idle + 0.5)))


def _cpu_times() -> dict[int, tuple[int, int]]:
    """Of each CPU that this process may use: the ticks that it has rested, and all ticks, since the machine started."""
    mine, found = os.sched_getaffinity(0), {}
    for line in (PROC / "stat").read_text(encoding="ascii").splitlines():
        name, *counts = line.split()
        if re.fullmatch(r"cpu\d+", name) and int(name[3:]) in mine:
            ticks = [int(count) for count in counts[:8]]  # user, nice, system, idle, iowait, irq, softirq, steal
            found[int(name[3:])] = (ticks[3] + ticks[4], sum(ticks))
    return found


def _quota() -> int:
    """The CPUs that the cgroup of this process may use; more than any machine has if it says nothing."""
    try:
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, int(most) // int(period))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return 1 << 16


def commit() -> str | None:
    """The commit of this code: the image's, or that of the checkout, with `-dirty` if files differ from it."""
    if known := os.environ.get(COMMIT_VARIABLE):
        return known
    if not (PACKAGE.parent / ".git").exists():
        return None
    git = ("git", "-C", str(PACKAGE.parent))
    head, changed = _output(*git, "rev-parse", "HEAD"), _output(*git, "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if head and changed else head


def gpus() -> dict[str, Any]:
    """The names of the GPUs that this process may use, and their driver, by nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return {"gpus": [], "driver": None}
    text = _output("nvidia-smi", "--query-gpu=index,uuid,name,driver_version", "--format=csv,noheader") or ""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.count(",") == 3]
    if (chosen := os.environ.get(VISIBLE_VARIABLE)) is not None:
        wanted = [part.strip() for part in chosen.split(",") if part.strip()]
        rows = [row for row in rows if any(row[0] == part or row[1].startswith(part) for part in wanted)]
    return {"gpus": [name for _, _, name, _ in rows], "driver": rows[0][3] if rows else None}


def memory_gib() -> float | None:
    """GiB that this process can have, with those that it has: of the machine, and within its cgroups' limits.

    None where /proc does not tell. Memory that holds nothing but copies of files counts as free.
    """
    machines = _numbers_in(PROC / "meminfo").get("MemAvailable:")
    if machines is None:
        return None
    own = _numbers_in(PROC / "self/status").get("RssAnon:", 0)
    return (min([machines * 1024, *_left_in_cgroups()]) + own * 1024) / 2**30


def _left_in_cgroups() -> Iterator[int]:
    """Bytes that are left to this process in each cgroup with a limit, of version 2 or 1."""
    for line in (PROC / "self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, names = (CGROUPS / "memory", VERSION_1) if controllers else (CGROUPS, VERSION_2)
        inner = top / path.lstrip("/")
        for group in (inner, *inner.parents):
            limit, used = (_number_in(group / name) for name in names[:2])
            if limit is not None and used is not None:
                yield limit - used + _numbers_in(group / "memory.stat").get(names[2], 0)


def _number_in(path: Path) -> int | None:
    """The number that a file of a cgroup holds; None if there is no such file, or no limit."""
    text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    return int(text) if text.isdecimal() else None


def _numbers_in(path: Path) -> dict[str, int]:
    """The first number of each line of a file, by its first word."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    words = [line.split() for line in lines]
    return {name: int(number) for name, number, *_ in (row for row in words if len(row) > 1) if number.isdecimal()}


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the GPU or of the machine ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = _OF_MEMORY.search(str(error)) and not isinstance(error, ValueError)
    return isinstance(error, MemoryError) or bool(said)


def packages() -> dict[str, str]:
    """Name -> version of every package installed here."""
    return {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}


def _output(*command: str) -> str | None:
    """What a program prints, None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=ASK_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
