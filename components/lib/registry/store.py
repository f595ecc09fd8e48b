"""Open the store of a registry by its address: a directory, or s3://bucket/prefix."""

import os
import secrets

from components.lib import inside
from components.lib.files import expanded
from components.lib.registry.base import Store
from components.lib.registry.directory import DirectoryStore


def open_store(uri: str) -> Store:
    """The store at `uri`, a directory or s3://bucket/prefix; `ValueError` for anything else."""
    if uri.startswith("s3://"):
        from components.lib.registry.s3 import open_s3

        return open_s3(uri)
    if not uri or "://" in uri:
        raise ValueError(f"registry {uri!r} is neither a directory nor an s3://bucket/prefix address")
    if inside.is_elsewhere(expanded(uri).absolute()):
        raise ValueError(f"registry {uri!r} lies on no volume of this Pod; write s3://BUCKET/PREFIX")
    return DirectoryStore(expanded(uri))


def checked_registry(registry: str) -> Store:
    """The registry, after one object was created, refused to be created again, and deleted there.

    `ValueError` says what is wrong: it cannot be written, or its place cannot keep two runs from taking one lock.
    """
    if not registry:
        raise ValueError("registry is empty; give a directory or an s3:// address that all steps can write")
    key = f"probe/{secrets.token_hex(8)}.json"
    try:
        store = open_store(registry)
        made, made_again = store.create(key, 1), store.create(key, 2)
        store.delete(key)
    except OSError as error:
        raise ValueError(f"registry {registry!r} cannot be written: {error}") from None
    if not made or made_again:
        where = os.environ.get("S3_ENDPOINT", "") if registry.startswith("s3://") else "its file system"
        raise ValueError(
            f"registry {registry!r}: {where} creates an object that is there already (it ignores If-None-Match), so "
            "two runs could hold one lock; use a server that refuses, as MinIO and AWS do, or a directory"
        )
    return store
