"""Completions kept on disk while an evaluation runs, so that a killed one goes on where it stopped."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.lib.files import resumed_rows


class Partial:
    """A file of finished completions: rows {"key", "seconds", ...} with the fields of `backends.Completion`."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier process has left; a last line that it could not finish is cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {row["key"]: row for row in resumed_rows(path)}

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append finished rows, on disk before this returns."""
        with self.path.open("a", encoding="utf-8", newline="\n") as out:
            for row in rows:
                self.rows[row["key"]] = row
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())

    def remove(self) -> None:
        """Delete the file once everything has been written elsewhere."""
        self.path.unlink(missing_ok=True)
