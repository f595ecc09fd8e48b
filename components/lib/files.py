"""Reading and writing the files that stages exchange: JSON Lines, strict and atomic."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]  # components/


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that this project wrote; `ValueError` names file and line of one that is not JSON."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number} is not JSON ({error}); write the file anew") from None


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows one per line, atomically; returns how many."""
    count = 0
    with _replacing(path) as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def write_json(path: Path, value: Any) -> None:
    """Write one indented JSON value, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    with _replacing(path) as out:
        out.write(text)


def read_json(path: Path) -> Any:
    """Read one JSON value."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(root: Path, pattern: str) -> str:
    """One hash over names and contents of the files below `root` that match, compiled Python left out."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob(pattern) if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{path.relative_to(root)} {sha256(path)}\n".encode())
    return digest.hexdigest()


def code_sha256() -> str:
    """One hash over the Python files of this package, its steps and wings alike."""
    return tree_sha256(PACKAGE, "*.py")


def sync_tree(path: Path, *, recursive: bool = True) -> None:
    """Wait until a directory, and what lies below it, is on the disk: a rename after this survives a power cut."""
    for entry in path.rglob("*") if recursive else ():
        _sync(entry)
    _sync(path)


def link_tree(source: Path, target: Path) -> None:
    """Put the files of a directory below another one, as hard links where the file system allows, else as copies."""
    shutil.copytree(source, target, dirs_exist_ok=True, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _replacing:
    """A text file that appears under its name only when it is whole."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def __enter__(self) -> Any:
        handle, self.temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        self.file = os.fdopen(handle, "w", encoding="utf-8", newline="\n")
        return self.file

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.file.close()
        if kind:
            os.unlink(self.temporary)
        else:
            os.chmod(self.temporary, 0o644)
            os.replace(self.temporary, self.path)
