"""Open the store of a registry by its address: a directory, or s3://bucket/prefix."""

from pathlib import Path

from components.lib.registry.base import Store
from components.lib.registry.directory import DirectoryStore


def open_store(uri: str) -> Store:
    """The store at `uri`, a directory or s3://bucket/prefix; `ValueError` for anything else."""
    if uri.startswith("s3://"):
        from components.lib.registry.s3 import open_s3

        return open_s3(uri)
    if not uri or "://" in uri:
        raise ValueError(f"registry {uri!r} is neither a directory nor an s3://bucket/prefix address")
    return DirectoryStore(Path(uri).expanduser())


def checked_registry(registry: str) -> Store:
    """The registry, after one object was written and deleted there; `ValueError` says what is wrong."""
    if not registry:
        raise ValueError("registry is empty; give a directory or an s3:// address that all steps can write")
    try:
        store = open_store(registry)
        store.write_json("probe/preflight.json", {"ok": True})
        store.delete_tree("probe")
    except OSError as error:
        raise ValueError(f"registry {registry!r} cannot be written: {error}") from None
    return store
