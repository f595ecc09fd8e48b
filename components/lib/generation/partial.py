"""Completions kept on disk while a step makes them, so that a killed one goes on where it stopped."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.lib.files import code_sha256, naming, resumed_rows
from components.lib.place import Place

PARTIAL = "partial.jsonl"
# The code that decides no completion of a model to a prompt.
NOT_GENERATING = (
    "sample", "standardize", "sft", "grpo", "evaluate", "lib/data", "lib/recipe", "lib/tiny",
    "lib/training",
)  # fmt: skip


class Partial:
    """A file of finished completions: rows {"key", "seconds", ...} with the fields of `backends.Completion`."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier process has left; a last line that it could not finish is cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {row["key"]: row for row in resumed_rows(path)}

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append finished rows, on disk before this returns."""
        with naming(self.path), self.path.open("a", encoding="utf-8", newline="\n") as out:
            for row in rows:
                self.rows[row["key"]] = row
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())

    def remove(self) -> None:
        """Delete the file once everything has been written elsewhere."""
        self.path.unlink(missing_ok=True)


@contextmanager
def kept(step: str, keys: Iterable[str], out: Path, checkpoints: Path | None) -> Iterator[Partial]:
    """The completions that an earlier process of this very step has left; gone when the block ends well.

    They lie below `checkpoints`, which outlives the step, in a directory whose key is made of all that decides them:
    the code, and the `keys` of the requests, which stand for model, prompts, settings and seed. Without checkpoints
    they lie in `out`. `ValueError` if another run is making them.
    """
    if checkpoints is None:
        partial = Partial(out / PARTIAL)
        yield partial
        partial.remove()
        return
    requests = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    place = Place.of(checkpoints, step, {"step": step, "requests": requests, "code": code_sha256(*NOT_GENERATING)})
    with place.locked():
        yield Partial(place.path / PARTIAL)
        place.remove()
