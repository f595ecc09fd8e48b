"""Whether a worker gets on: whatever it writes to its directory is a sign of that. No torch here."""

import contextlib
import os
import time
from pathlib import Path

# Loading from a slow volume, compiling kernels and the first rollouts are quiet for minutes; an hour lost to a worker
# that hangs is little beside ending one that does not.
QUIET_S = 3600.0
# What is not done in every step, as a checkpoint or the plateau's problems, may take so many times the slowest so far.
TIMES = 10


class Pace:
    """The pace at which something is written to a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.found = written(directory)
        self.since = time.monotonic()
        self.slowest = 0.0  # seconds between two signs

    def stalled(self) -> str:
        """Look again; why the worker counts as hanging, empty if it does not."""
        now, found = time.monotonic(), written(self.directory)
        quiet = now - self.since
        if found != self.found:
            self.slowest, self.found, self.since = max(self.slowest, quiet), found, now
        elif quiet > max(QUIET_S, TIMES * self.slowest):
            return (
                f"its process hangs: it has written nothing to {self.directory} for {_minutes(quiet)}, and for "
                f"{_minutes(self.slowest)} at most before"
            )
        return ""


def written(directory: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file below a directory."""
    found = {}
    for folder, _, names in os.walk(directory):
        for path in (os.path.join(folder, name) for name in names):
            with contextlib.suppress(OSError):  # it has gone since
                status = os.stat(path)
                found[path] = (status.st_size, status.st_mtime_ns)
    return found


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"
