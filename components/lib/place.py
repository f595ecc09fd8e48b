"""A directory below `checkpoints` for what must outlive its process, its Pod or a power cut: its name, and its lock.

The name is `<step>-<key>`. The key is a hash of inputs, settings and code, never of a run: what has the same key goes
on there, what has another key does not see it.
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from components.lib.files import link_tree, read_json, write_json

ABOUT, LOCK = "about.json", "lock"
SHARED_VARIABLE = "GRPO_SHARED"  # the directory of what the runs of a study share
KEY_DIGITS = 16


class Place:
    """One such directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, checkpoints: Path, step: str, inputs: Mapping[str, Any]) -> Self:
        """The directory of a step's work with these inputs (JSON values), which are written there for people."""
        text = json.dumps(inputs, sort_keys=True)
        path = checkpoints / f"{step}-{hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]}"
        if not (path / ABOUT).exists():
            write_json(path / ABOUT, dict(inputs))
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the lock; yields its file descriptor, which workers inherit so that an orphan still holds it.

        `ValueError` names the holder if another process has it, or the file system if it knows no locks.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise ValueError(
                    f"another run works in {self.path} ({file.read().strip() or 'it did not say who'}); "
                    "wait until it has ended, or end it"
                ) from None
            except OSError as error:
                raise ValueError(
                    f"{self.path / LOCK} cannot be locked ({error}); put checkpoints on a file system with flock"
                ) from None
            file.truncate(0)
            file.write(f"host {socket.gethostname()}, process {os.getpid()}, since {_now()}\n")
            file.flush()
            yield file.fileno()

    def remove(self) -> None:
        """Delete it, once all that it held has been written elsewhere; the lock is held."""
        shutil.rmtree(self.path)


def once(
    step: str, inputs: Callable[[], Mapping[str, Any]], out: Path, make: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """What `make` returns, which fills `out`; in a study, what an earlier run of it made of the same inputs.

    `inputs` returns all that decides the result, its code too. The files are linked: nobody may change them afterwards.
    """
    if not (root := os.environ.get(SHARED_VARIABLE)):
        return make()
    place = Place.of(Path(root), step, inputs())
    made, numbers = place.path / "made", place.path / "numbers.json"
    with place.locked():
        if numbers.exists():
            print(f"{step}: an earlier run of the study has done this very work: {made}", flush=True)
            link_tree(made, out)
        else:
            shutil.rmtree(made, ignore_errors=True)
            found = make()
            link_tree(out, made)
            write_json(numbers, found)
        return dict(read_json(numbers))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
