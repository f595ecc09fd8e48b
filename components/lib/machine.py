"""What a step runs on: commit, image, Python, packages and GPUs, for the record and the provenance; no torch here."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from typing import Any

from components.lib import inside
from components.lib.files import PACKAGE

COMMIT_VARIABLE = "GRPO_COMMIT"  # set in the images
VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"
ASK_S = 10
MACHINE = "machine.json"  # beside the curves of a training: what it ran on, as `describe` has it


def describe(*, heavy: bool) -> dict[str, Any]:
    """Commit, image digest (in a Pod) and Python; of a `heavy` step, one that uses a model, GPUs and packages too.

    What cannot be found out is None or empty.
    """
    found: dict[str, Any] = {"commit": commit(), "image": inside.own_image(), "python": platform.python_version()}
    if not heavy:
        return found | {"gpus": [], "driver": None}
    return found | gpus() | {"packages": packages()}


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
