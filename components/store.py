"""The registry's store: JSON records and whole directories under keys, in a directory or in an S3 bucket.

A key is a relative path with `/`, as `runs/r1/results.json`. A tree is a directory put under a prefix; its
`manifest.json` ({"files": {path: {"sha256", "size"}}}) is written last, so a tree without one was never finished
and is not readable. Every write shows either the old content or the new one, never a part.
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.files import sha256

MANIFEST = "manifest.json"
PARTIAL = ".partial"  # where a directory store keeps what is not whole yet; no key may begin with it
STALE_S = 86_400  # age at which a file below PARTIAL belongs to a write that was killed
RACES = 100  # times that a directory may vanish under a write before it is an error


class Store(ABC):
    """What a registry needs from the place where it lies; see `open_store`."""

    @abstractmethod
    def url(self, key: str) -> str:
        """Where a key lies, for people and logs: a path or an s3:// address."""

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """The bytes under a key, None if there are none."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Put bytes under a key at once; readers see the old ones or the new ones."""

    @abstractmethod
    def create_bytes(self, key: str, data: bytes) -> bool:
        """Put bytes under a key only if it is free; whether it was."""

    @abstractmethod
    def put_file(self, key: str, path: Path, digest: str) -> bool:
        """Put a file with SHA-256 `digest` under a key; False if it was there already."""

    @abstractmethod
    def get_file(self, key: str, path: Path) -> str:
        """Fetch the file under a key to `path`; its SHA-256. `ValueError` if there is none."""

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """All keys under a prefix (`runs/r1`, `runs/r1/` or "" for all), sorted; `prefix` itself if it is a key."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove one key; nothing happens if it is not there."""

    def sweep(self) -> int:
        """Delete what writes that were killed have left, if it is older than a day; returns how many files went."""
        return 0  # an S3 server drops the parts of an upload that nobody finished by itself

    def read_json(self, key: str) -> Any | None:
        """The JSON value under a key, None if there is none; `ValueError` if it is not JSON."""
        data = self.read(key)
        if data is None:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise ValueError(f"{self.url(key)} is not JSON ({error}); delete it or write it anew") from None

    def write_json(self, key: str, value: Any) -> None:
        """Put a JSON value under a key, atomically."""
        self.write(key, _json(value))

    def create(self, key: str, value: Any) -> bool:
        """Put a JSON value under a key only if it is free, as a lock is taken; whether it is there now.

        A key that holds this very value counts as taken by us: the answer to an earlier try may have been lost.
        """
        return self.create_bytes(key, _json(value)) or self.read(key) == _json(value)

    def put_tree(self, prefix: str, directory: Path) -> int:
        """Make `prefix` hold exactly the files of `directory`; returns how many had to be written.

        Files that are already there with the same SHA-256 are left alone, so that an interrupted call is
        finished by calling it again. While files change there is no manifest, hence no readable tree.
        """
        files = describe(directory)
        if self.read_json(f"{prefix}/{MANIFEST}") == {"files": files}:
            return 0
        self.delete(f"{prefix}/{MANIFEST}")
        written = 0
        for number, (name, entry) in enumerate(files.items(), 1):
            new = self.put_file(f"{prefix}/{name}", directory / name, entry["sha256"])
            written += new
            print(
                f"{'put' if new else 'has'} {number}/{len(files)} {prefix}/{name} ({entry['size']:,} bytes)", flush=True
            )
        for stale in set(self.keys(prefix)) - {f"{prefix}/{name}" for name in files}:
            self.delete(stale)
        self.write_json(f"{prefix}/{MANIFEST}", {"files": files})
        return written

    def get_tree(self, prefix: str, directory: Path) -> int:
        """Fetch a whole tree to `directory` and check every file; returns how many had to be fetched.

        Files that are already there and right are left alone. `ValueError` if the tree was never finished or a
        file's content is not what the manifest says.
        """
        manifest = self.read_json(f"{prefix}/{MANIFEST}")
        if manifest is None:
            raise ValueError(f"{self.url(prefix)} holds no finished tree (no {MANIFEST}); push it again")
        fetched = 0
        for name, entry in manifest["files"].items():
            path = directory / check_key(name)
            if path.is_file() and path.stat().st_size == entry["size"] and sha256(path) == entry["sha256"]:
                continue
            found = self.get_file(f"{prefix}/{name}", path)
            if found != entry["sha256"]:
                path.unlink()
                raise ValueError(
                    f"{self.url(f'{prefix}/{name}')} has SHA-256 {found}, its manifest says {entry['sha256']}; "
                    "the stored file is damaged, push it again"
                )
            fetched += 1
        return fetched

    def delete_tree(self, prefix: str) -> int:
        """Remove a key and everything under it, the manifest first; returns how many keys went."""
        keys = self.keys(check_key(prefix))
        for key in sorted(keys, key=lambda key: key != f"{prefix}/{MANIFEST}"):
            self.delete(key)
        return len(keys)


class DirectoryStore(Store):
    """A store in a directory, which may lie on a network file system that has hard links."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def url(self, key: str) -> str:
        """The path of a key."""
        return str(self._path(key) if key else self.root)

    def read(self, key: str) -> bytes | None:
        """The bytes under a key, None if there are none."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def write(self, key: str, data: bytes) -> None:
        """Write to a file beside, then rename it over the key."""
        part = self._part(data)
        self._into_place(lambda path: os.replace(part, path), key)

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Write to a file beside, then link it: the one operation that fails if the name is taken."""
        part = self._part(data)
        try:
            self._into_place(lambda path: os.link(part, path), key)
        except FileExistsError:
            return False
        finally:
            part.unlink()
        return True

    def put_file(self, key: str, path: Path, digest: str) -> bool:
        """Copy a file under a key unless it is there already; whether it was copied."""
        target = self._path(key)
        if target.is_file() and sha256(target) == digest:
            return False
        part = self._part(path)
        if (found := sha256(part)) != digest:
            part.unlink()
            raise ValueError(f"{path} changed while it was copied (SHA-256 {found}, expected {digest}); push again")
        self._into_place(lambda path: os.replace(part, path), key)
        return True

    def get_file(self, key: str, path: Path) -> str:
        """Copy the file under a key to `path`."""
        source = self._path(key)
        if not source.is_file():
            raise ValueError(f"{source} does not exist; push it again")
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial_of(path) as part:
            shutil.copyfile(source, part)
        return sha256(path)

    def keys(self, prefix: str) -> list[str]:
        """All keys under a prefix, sorted."""
        prefix = prefix.removesuffix("/")
        start = self._path(prefix) if prefix else self.root
        if start.is_file():
            return [prefix]
        found = (path.relative_to(self.root) for path in start.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if path.parts[0] != PARTIAL)

    def delete(self, key: str) -> None:
        """Remove a key and the directories that it leaves empty."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == self.root:
                return
            try:
                parent.rmdir()
            except OSError:  # not empty, or gone already: another process is at work there
                return

    def sweep(self) -> int:
        """Delete the old files below PARTIAL; a write that is under way is younger."""
        count = 0
        for path in (self.root / PARTIAL).glob("*"):
            with contextlib.suppress(FileNotFoundError):  # another process's, that is in its place by now
                if path.stat().st_mtime < time.time() - STALE_S:
                    path.unlink()
                    count += 1
        return count

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _part(self, content: bytes | Path) -> Path:
        """A new file below PARTIAL with this content, on the disk for good."""
        (self.root / PARTIAL).mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.root / PARTIAL)
        try:
            with os.fdopen(handle, "wb") as out:
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, out, 1 << 20)
                else:
                    out.write(content)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(name, 0o644)
        except BaseException:
            os.unlink(name)
            raise
        return Path(name)

    def _into_place(self, move: Callable[[Path], None], key: str) -> None:
        """Move a whole file to its key's path, whose directory `delete` may be removing at this moment."""
        path = self._path(key)
        for _ in range(RACES):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError:  # it was there and is gone again: somebody deletes beside us
                continue
            try:
                return move(path)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(f"{path.parent} vanishes as often as it is made; look what deletes it")


class partial_of:
    """A path beside `path` to write to; it takes `path`'s place only if the block ends well."""

    def __init__(self, path: Path) -> None:
        self.path, self.part = path, path.with_name(f".{path.name}.partial")

    def __enter__(self) -> Path:
        return self.part

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            os.replace(self.part, self.path)
        else:
            self.part.unlink(missing_ok=True)


def open_store(uri: str) -> Store:
    """The store at `uri`, a directory or s3://bucket/prefix; `ValueError` for anything else."""
    if uri.startswith("s3://"):
        from components.s3 import open_s3

        return open_s3(uri)
    if not uri or "://" in uri:
        raise ValueError(f"registry {uri!r} is neither a directory nor an s3://bucket/prefix address")
    return DirectoryStore(Path(uri).expanduser())


def check_key(key: str) -> str:
    """The key itself; `ValueError` if it is empty, absolute, climbs out of the store or is not plain text."""
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in key or not key.isprintable() or parts[0] == PARTIAL:
        raise ValueError(f"bad registry key {key!r}; write a relative path such as models/v1/config.json")
    return key


def describe(directory: Path) -> dict[str, dict[str, Any]]:
    """The manifest's entries of a directory: relative path -> {"sha256", "size" in bytes}, sorted by path.

    `ValueError` if it is not a directory, is empty, or holds a file called manifest.json at its top.
    """
    if not directory.is_dir():
        raise ValueError(f"{directory} is not a directory; name the directory to be stored")
    files = {p.relative_to(directory).as_posix(): p for p in _files(directory)}
    if not files or MANIFEST in files:
        raise ValueError(f"{directory} {'holds ' + MANIFEST + ', a name the store needs' if files else 'is empty'}")
    return {name: {"sha256": sha256(path), "size": path.stat().st_size} for name, path in sorted(files.items())}


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()
