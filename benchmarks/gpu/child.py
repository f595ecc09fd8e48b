"""The process of one part."""

import importlib
import json
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where a part works, and how large."""

    device: str
    directory: Path  # shared by the parts of a run

    @property
    def gpu(self) -> bool:
        """Whether this is no dry run."""
        return self.device == "cuda"

    @property
    def model(self) -> str:
        """The model of the parts; on a GPU the part `weights` makes it."""
        return str(self.directory / "model") if self.gpu else "tiny"

    def of(self, true: Any, dry: Any) -> Any:
        """One of two sizes: the true one, or that of a dry run."""
        return true if self.gpu else dry


def work(module: str, name: str, device: str, directory: Path, path: list[str]) -> None:
    """Write the rows of a part as they come, and what it says into a log; it leads a process group of its own."""
    os.setsid()
    sys.path[:] = path
    log = (directory / f"{name}.log").open("w", encoding="utf-8", buffering=1)
    for descriptor in (1, 2):
        os.dup2(log.fileno(), descriptor)
    status = 1
    try:
        part = getattr(importlib.import_module(f"benchmarks.gpu.{module}"), name)
        with (directory / f"{name}.jsonl").open("w", encoding="utf-8", buffering=1) as rows:
            for row in part(Place(device, directory)):
                rows.write(json.dumps(row) + "\n")
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # libraries hold threads that would keep it
