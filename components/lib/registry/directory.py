"""A store in a directory, which may lie on a network file system that has hard links."""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from components.lib.files import new_file, replacing, sha256, sync
from components.lib.registry.base import PARTIAL, RACES, STALE_S, Store, check_key

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # FAT answers EPERM


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
        with self._part() as part:
            part.write_bytes(data)
            sync(part)
            self._into_place(lambda path: os.replace(part, path), key)

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Write to a file beside, then link it: the one operation that fails if the name is taken."""
        with self._part() as part:
            part.write_bytes(data)
            sync(part)
            try:
                self._into_place(lambda path: os.link(part, path), key)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                raise ValueError(
                    f"the file system of {self.root} has no hard links ({error.strerror}), without which two runs "
                    "could hold one lock; put the registry elsewhere"
                ) from None
        return True

    def put_file(self, key: str, path: Path, digest: str) -> bool:
        """Copy a file under a key unless it is there already; whether it was copied."""
        target = self._path(key)
        if target.is_file() and sha256(target) == digest:
            return False
        with self._part() as part:
            shutil.copyfile(path, part)
            sync(part)
            if (found := sha256(part)) != digest:
                raise ValueError(f"{path} changed while it was copied (SHA-256 {found}, expected {digest}); push again")
            self._into_place(lambda path: os.replace(part, path), key)
        return True

    def get_file(self, key: str, path: Path) -> str:
        """Copy the file under a key to `path`."""
        source = self._path(key)
        if not source.is_file():
            raise ValueError(f"{source} does not exist; push it again")
        with replacing(path) as part:
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

    @contextlib.contextmanager
    def _part(self) -> Iterator[Path]:
        """A new file below PARTIAL, to be written and moved to its key."""
        (self.root / PARTIAL).mkdir(parents=True, exist_ok=True)
        with new_file(self.root / PARTIAL) as part:
            yield part

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
