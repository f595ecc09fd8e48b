"""What a step runs on: commit, image, Python, packages and GPUs, for the record and the provenance; no torch here."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from components.cluster import inside

COMMIT_VARIABLE = "GRPO_COMMIT"  # set in the images
DRIVER = Path("/proc/driver/nvidia/version")
_ROOT = Path(__file__).parents[1]


def describe() -> dict[str, Any]:
    """Commit, image digest (in a Pod), Python, GPUs and driver; with torch in use its process's packages as well.

    What cannot be found out is None or empty. Call it when the work is done: torch then knows its GPUs.
    """
    torch = sys.modules.get("torch")
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())] if torch else []
    found: dict[str, Any] = {
        "commit": commit(),
        "image": inside.own_image(),
        "python": platform.python_version(),
        "gpus": gpus,
        "driver": driver() if gpus else None,
    }
    return found | ({"packages": packages()} if torch else {})


def commit() -> str | None:
    """The commit of this code: the image's, or that of the checkout, with `-dirty` if files differ from it."""
    if known := os.environ.get(COMMIT_VARIABLE):
        return known
    if not (_ROOT / ".git").exists():
        return None
    head, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if head and changed else head


def driver() -> str | None:
    """The version of the NVIDIA driver."""
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", DRIVER.read_text()) if DRIVER.exists() else None
    return found[0] if found else None


def packages() -> dict[str, str]:
    """Name -> version of every package installed here."""
    return {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
