"""What the test Hub keeps: repositories with commits, branches, tags and blobs, all in memory."""

import hashlib
import json
import time
from dataclasses import dataclass, field

LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".arrow", ".gz", ".model", ".pt")
REGULAR_LIMIT = 10 << 20  # bytes; a larger file goes to LFS whatever its name


@dataclass(frozen=True)
class File:
    """One file of a commit: the SHA-256 of its content, its size in bytes, and its git object id."""

    sha256: str
    size: int
    lfs: bool
    oid: str


@dataclass(frozen=True)
class Commit:
    """A whole tree at one moment."""

    oid: str
    parent: str | None
    message: str
    files: dict[str, File]


@dataclass
class Repo:
    """A repository of the Hub; `blobs` is the store that all repositories of a server share."""

    kind: str
    id: str
    blobs: dict[str, bytes]
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag, a commit id or its first seven or more digits means."""
        revision = revision.removeprefix("refs/heads/")
        oid = self.branches.get(revision) or self.tags.get(revision)
        if oid is None and len(revision) >= 7:
            oid = next((known for known in self.commits if known.startswith(revision)), None)
        return self.commits[oid] if oid else None

    def commit(self, branch: str, message: str, files: dict[str, File]) -> Commit:
        """Make `files` the tree of a branch."""
        parent = self.branches.get(branch)
        text = json.dumps([parent, message, time.time_ns(), {path: file.oid for path, file in files.items()}])
        commit = Commit(hashlib.sha1(text.encode()).hexdigest(), parent, message, dict(files))
        self.commits[commit.oid] = commit
        self.branches[branch] = commit.oid
        return commit

    def add(self, path: str, data: bytes) -> File:
        """Store the bytes of a file, in LFS if the Hub would."""
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        lfs = is_lfs(path, len(data))
        return File(digest, len(data), lfs, git_oid(pointer(digest, len(data)) if lfs else data))

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """All files at a revision with their bytes; for tests."""
        commit = self.resolve(revision)
        assert commit is not None, f"{self.id} has no revision {revision}"
        return {path: self.blobs[file.sha256] for path, file in commit.files.items()}


def is_lfs(path: str, size: int) -> bool:
    """Whether the Hub keeps a file in LFS."""
    return size > 0 and (path.endswith(LFS_SUFFIXES) or size > REGULAR_LIMIT)


def pointer(sha256: str, size: int) -> bytes:
    """The text that git holds in an LFS file's place."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def git_oid(data: bytes) -> str:
    """The git object id of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
