"""The registry's store: JSON records and whole directories under keys, in a directory or in an S3 bucket.

A key is a relative path with `/`, as `runs/r1/results.json`. A tree is a directory put under a prefix; its
`manifest.json` ({"files": {path: {"sha256", "size"}}}) is written last, so a tree without one was never finished
and is not readable. Every write shows either the old content or the new one, never a part.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.lib.files import sha256

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
