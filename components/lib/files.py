"""Reading and writing the files that stages exchange: JSON Lines, strict and atomic."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]  # components/
# The code that decides no result of a run: how it is asked for, kept, told and sent, and what is made of its results.
# What is not listed decides, a new folder too. The values of recipes are in every key by themselves.
NO_RESULT = (
    "preflight", "compare", "gate", "push", "notify", "lib/cluster", "lib/registry", "lib/reporting", "lib/local.py",
    "lib/live.py", "lib/command.py", "lib/hub.py", "lib/machine.py", "lib/inside.py", "lib/retry.py", "lib/progress.py",
    "lib/place.py", "lib/ending.py", "lib/streams.py", "lib/recipe/recipes.py", "lib/recipe/files.py",
    "lib/recipe/reference.py", "lib/recipe/selection.py", "lib/recipe/release.py", "lib/study", "lib/model_registry.py",
)  # fmt: skip

_FULL = "free some space there, or name a place on another volume; what was finished before stays"
_CLOSED = "make it writable, or name another place"
_ODD = "name another place"
REMEDIES = {
    errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EROFS: _CLOSED, errno.EACCES: _CLOSED, errno.EPERM: _CLOSED,
    errno.EIO: "look at the volume and its log", errno.ENOTDIR: _ODD, errno.EEXIST: _ODD, errno.EISDIR: _ODD,
    errno.ENAMETOOLONG: _ODD, errno.ELOOP: _ODD,
}  # fmt: skip


class Fields(dict[str, Any]):
    """A JSON object of a file at `place`; a field that it does not have is a `ValueError` that says so."""

    def __init__(self, value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{place} is no JSON object; is it the right file?")
        super().__init__(value)
        self.place = place

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"{self.place} has no field {name!r}; is it the right file?")


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that this project wrote; `ValueError` names file and line of one that is no JSON object."""
    with naming(path), path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{path}:{number}"
            try:
                value = json.loads(line.decode())
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{place} is not JSON ({error}); write the file anew") from None
            yield Fields(value, place)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows one per line, atomically; returns how many."""
    count = 0
    with naming(path), replacing(path) as part, part.open("w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def resumed_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that grows, none if it is not there; a last line that was cut by a kill is removed first."""
    if path.exists():
        data = path.read_bytes()
        if rest := len(data) - data.rfind(b"\n") - 1:
            os.truncate(path, len(data) - rest)
        yield from read_jsonl(path)


def write_json(path: Path, value: Any) -> None:
    """Write one indented JSON value, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    with naming(path), replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of the file system that names no file, as that of a read or of a full volume, name this one."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def explained(error: OSError) -> str:
    """An error of the file system in one line: its own words, where it happened, and what to do."""
    text, path = str(error), error.filename
    if isinstance(error, shutil.Error):  # of several files: [(source, target, why), ...]
        (_, path, text), *_ = error.args[0]
        text = text if path in text else f"{text}: '{path}'"
    if isinstance(path, str) and (link := dangling(Path(path))):
        return f"{link} is a symbolic link to {os.readlink(link)}, which is not there; put it there, or change the link"
    number = error.errno or int((re.search(r"\[Errno (\d+)\]", text) or [0, 0])[1])
    return f"{text}; {REMEDIES[number]}" if number in REMEDIES else text


def expanded(text: str | Path) -> Path:
    """The path that a user writes: ~ is a home, and stays what it is where there is no such user."""
    return Path(os.path.expanduser(text))


def dangling(path: Path) -> Path | None:
    """The symbolic link on the way to a path, or at its end, that points nowhere; None if there is none."""
    return next((part for part in (path, *path.parents) if os.path.islink(part) and not os.path.exists(part)), None)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write to that takes the place of `path`, whose directory is made, only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path.parent, f".{path.name}.") as part:
        yield part
        os.replace(part, path)


@contextmanager
def new_file(directory: Path, prefix: str = "") -> Iterator[Path]:
    """A new empty file in a directory; it is gone when the block ends, unless it was moved away."""
    path = directory / f"{prefix}{secrets.token_hex(8)}"
    path.touch(exist_ok=False)  # as the umask has it; tempfile's are for their owner alone
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read one JSON value; `ValueError` names the file if it is none."""
    with naming(path):
        data = path.read_bytes()
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); write the file anew") from None


def read_object(path: Path) -> dict[str, Any]:
    """Read one JSON object; `ValueError` names the file if it is none, or where a field is asked for and not there."""
    return Fields(read_json(path), str(path))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(root: Path, pattern: str, apart: Iterable[str] = ()) -> str:
    """One hash over names and contents of the files below `root` that match.

    Compiled Python is left out, and so is what lies at or below the paths in `apart`.
    """
    digest, left_out = hashlib.sha256(), {root / path for path in apart}
    for path in sorted(p for p in root.rglob(pattern) if p.is_file() and "__pycache__" not in p.parts):
        if left_out.isdisjoint((path, *path.parents)):
            digest.update(f"{path.relative_to(root)} {sha256(path)}\n".encode())
    return digest.hexdigest()


def code_sha256(*apart: str) -> str:
    """One hash over the Python files that decide what a run computes: all but NO_RESULT, and but `apart`."""
    return tree_sha256(PACKAGE, "*.py", (*NO_RESULT, *apart))


def sync_tree(path: Path, *, recursive: bool = True) -> None:
    """Wait until a directory, and what lies below it, is on the disk: a rename after this survives a power cut."""
    for entry in path.rglob("*") if recursive else ():
        sync(entry)
    sync(path)


def link_tree(source: Path, target: Path) -> None:
    """Put the files of a directory below another one, as hard links where the file system allows, else as copies."""
    shutil.copytree(source, target, dirs_exist_ok=True, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)


def sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a directory, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
