"""Where a training keeps what must outlive its process, its Pod or a power cut (lib/place.py): files, no torch.

```
<checkpoints>/<stage>-<key>/
  about.json       what the key was made from
  lock             held (flock) by the parent process and by a worker that outlives it; not by those of torchrun
  step-00000120/   a whole checkpoint; its manifest.json, {"files": {path: {"sha256", "size"}}}, was written last
  writing/         the one that is being written
  best/            weights that did best on the plateau split
  curves/          curves.jsonl, samples.jsonl, ...; rows later than the checkpoint are dropped on a resume
    tensorboard/   live metrics; after a resume a step may be there twice
  inputs/          data and model for the Pods of a TrainJob
  preparing/       what becomes `finished`
  finished/        model/ and curves/, once the training has ended
  fit.json         the micro-batch that fits the memory, where the one asked for does not
  alive            touched by every forward pass
  threads.json     the threads that it began with, where `pipeline.py run` chose them
  result.json      what the last attempt said at its end: {"status", "message", "numbers"}
```
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.lib.files import naming, read_json, sha256, sync_tree, write_json, write_jsonl
from components.lib.place import Place
from components.lib.registry.base import MANIFEST, describe
from components.lib.training.job import Result, Status

FINISHED, CURVES, INPUTS = "finished", "curves", "inputs"
ALARMS = "alarms.jsonl"  # among the curves
CURVES_ARE = ": its curves are in "  # between a stage and their place, in a line that tells people and the live page


class TrainingDir(Place):
    """The directory of one training."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.curves = path / CURVES  # where the curves grow
        self.writing = path / "writing"  # where a checkpoint is written before it is whole
        self.preparing = path / "preparing"  # where the result is
        self.alive = path / "alive"
        self.finished = path / FINISHED  # what the training left when it had ended, whole or not there

    def newest(self) -> tuple[int, Path] | None:
        """Step and directory of the newest whole checkpoint; what is half written or damaged is told and removed."""
        shutil.rmtree(self.writing, ignore_errors=True)
        for path in reversed(self.steps()):
            damage = damage_of(path)
            if not damage:
                return step_of(path), path
            print(f"checkpoint {path} is passed over: {damage}", flush=True)
            shutil.rmtree(path)
        return None

    def steps(self) -> list[Path]:
        """All checkpoint directories, the oldest first."""
        return sorted(self.path.glob("step-*"))

    def reached(self) -> tuple[int, int]:
        """How far it is: the last step of curves and checkpoints, and the bytes of screened completions."""
        rows = whole_rows(self.curves / "curves.jsonl") if (self.curves / "curves.jsonl").exists() else []
        last = max([row["step"] for row in rows] + [step_of(path) for path in self.steps()], default=0)
        return last, sum(path.stat().st_size for path in self.path.glob("screen-partial-*.jsonl"))

    def keep(self, written: Path, step: int, keep: int) -> Path:
        """Make a directory that has been written the checkpoint of `step`, and drop all but the `keep` newest.

        It appears under its name only when every byte is on the disk. Returns where it lies.
        """
        write_json(written / MANIFEST, {"files": describe(written)})
        sync_tree(written)
        if self.curves.is_dir():
            sync_tree(self.curves)
        target = self.path / f"step-{step:08}"
        shutil.rmtree(target, ignore_errors=True)
        os.replace(written, target)
        sync_tree(self.path, recursive=False)
        for old in self.steps()[:-keep]:
            shutil.rmtree(old)
        return target

    def rewind(self, step: int) -> None:
        """Drop the rows of the curves' files that are later than `step`, and a last line that was cut off."""
        for path in sorted(self.curves.glob("*.jsonl")):
            write_jsonl(path, [row for row in whole_rows(path) if row["step"] <= step])

    def drop_unfinished(self) -> None:
        """Delete what is half written, a checkpoint or the result, of which nobody makes use."""
        for path in (self.writing, self.preparing):
            shutil.rmtree(path, ignore_errors=True)

    def result(self) -> Result | None:
        """What this very training has come to, if it has ended well."""
        found = Result.read(self.path)
        return found if found and found.status is Status.DONE and self.finished.is_dir() else None

    def finish(self, numbers: dict[str, float]) -> None:
        """Make what was prepared the finished result, and drop the checkpoints that led to it."""
        sync_tree(self.preparing)
        shutil.rmtree(self.finished, ignore_errors=True)
        os.replace(self.preparing, self.finished)
        Result(Status.DONE, numbers=numbers).write(self.path)
        sync_tree(self.path, recursive=False)
        for path in (*self.steps(), self.path / "best", self.path / INPUTS, self.writing):
            shutil.rmtree(path, ignore_errors=True)


def step_of(path: Path) -> int:
    """The step of a checkpoint directory."""
    return int(path.name.removeprefix("step-"))


def damage_of(path: Path) -> str:
    """What is wrong with a checkpoint directory; empty if every file is as its manifest says."""
    try:
        files = read_json(path / MANIFEST)["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"it has no whole {MANIFEST}"
    for name, entry in files.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != entry["size"]:
            return f"{name} is missing or cut off"
        if sha256(file) != entry["sha256"]:
            return f"{name} is damaged"
    return ""


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a JSON Lines file that grows while training; see `whole_rows`."""
    with naming(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def alarm(curves: Path, step: int, kind: str, message: str) -> None:
    """Tell an alarm in the log and in the alarms.jsonl of a training's curves, each kind once in a training."""
    path = curves / ALARMS
    if path.exists() and any(row["kind"] == kind for row in whole_rows(path)):
        return
    print(f"ALARM at step {step}: {message}", flush=True)
    curves.mkdir(parents=True, exist_ok=True)
    append_row(path, {"step": step, "kind": kind, "message": message})


def whole_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file up to the first that a crash has cut off."""
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows
