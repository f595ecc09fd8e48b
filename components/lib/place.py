"""A directory below `checkpoints` for what must outlive its process, its Pod or a power cut: its name, and its lock.

The name is `<step>-<key>`. The key is a hash of inputs, settings and code, never of a run: what has the same key goes
on there, what has another key does not see it.
"""

import errno
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

from components.lib.files import explained, link_tree, read_json, write_json

ABOUT, LOCK = "about.json", "lock"
SHARED_VARIABLE = "GRPO_SHARED"  # the directory of what the runs of a study share
KEY_DIGITS = 16
SHOWN = 5  # of what lies on a full volume


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


def explained_full(error: OSError, checkpoints: Path) -> str:
    """An error of the file system below `checkpoints` in one line; of a full volume also what lies there."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{explained(error)}; {contents(checkpoints)}" if full else explained(error)


def contents(checkpoints: Path) -> str:
    """What lies in a folder of checkpoints, the largest first, and the setting by which it is cleaned."""
    sizes = {
        path.name: sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
        for path in checkpoints.glob("*")
        if path.is_dir()
    }
    largest = sorted(sizes, key=lambda name: -sizes[name])
    listed = ", ".join(f"{name} {sizes[name] / 2**30:.2f} GiB" for name in largest[:SHOWN])
    more = f" and {len(largest) - SHOWN} more" if len(largest) > SHOWN else ""
    return (
        f"in {checkpoints}: {listed or 'nothing of ours'}{more}; preflight deletes what nothing has used for "
        "keep_checkpoint_days: a smaller one makes room for the next run"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
