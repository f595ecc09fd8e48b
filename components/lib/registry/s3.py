"""A store in an S3 bucket, and single objects as sources, through the minio client.

The server is S3_ENDPOINT (http://host:port), the credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for
temporary ones with AWS_SESSION_TOKEN, the region AWS_REGION or AWS_DEFAULT_REGION. AWS_CA_BUNDLE or SSL_CERT_FILE name
the certificates to trust. Files above PART_SIZE go up in parts, each retried by itself; a file that is there already
with the same SHA-256 (kept in its metadata) is not sent again, which is how an interrupted upload resumes.
"""

import io
import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.error import MinioException, S3Error
from minio.helpers import check_bucket_name
from urllib3.exceptions import HTTPError

from components.lib.files import sha256
from components.lib.registry.base import Store, check_key
from components.lib.registry.s3_errors import BUSY, Patience, explained, judge
from components.lib.retry import retry

T = TypeVar("T")

PART_SIZE = 16 << 20  # bytes
CONNECT_S, READ_S = 5, 60
DEFAULT_REGION = "us-east-1"  # MinIO's
DIGEST = "x-amz-meta-sha256"
ABSENT = ("NoSuchKey", "NoSuchObject")
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")


class S3Store(Store):
    """A store below a prefix of a bucket."""

    def __init__(self, client: Minio, bucket: str, prefix: str) -> None:
        self.client, self.bucket, self.prefix = client, bucket, prefix

    def url(self, key: str) -> str:
        """The s3:// address of a key."""
        return f"s3://{self.bucket}/{self._name(key)}".rstrip("/")

    def read(self, key: str) -> bytes | None:
        """The bytes under a key, None if there are none."""

        def attempt() -> bytes:
            response = self.client.get_object(self.bucket, self._name(key))
            try:
                return response.data
            finally:
                response.close()
                response.release_conn()

        return self._unless_absent(attempt, f"read {self.url(key)}")

    def write(self, key: str, data: bytes) -> None:
        """Put an object; S3 shows the old one or the new one."""
        name = self._name(key)
        self.call(
            lambda: self.client.put_object(self.bucket, name, io.BytesIO(data), len(data)), f"write {self.url(key)}"
        )

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Put an object only if there is none (If-None-Match)."""
        name = self._name(key)
        # The public put_object sends no conditions.
        headers: dict[str, str | list[str] | tuple[str]] = {"If-None-Match": "*", "Content-Type": "application/json"}
        try:
            self.call(lambda: self.client._put_object(self.bucket, name, data, headers), f"create {self.url(key)}")
        except S3Error as error:
            if error.code in TAKEN:
                return False
            raise
        return True

    def put_file(self, key: str, path: Path, digest: str) -> bool:
        """Upload a file unless it is there with this SHA-256 already."""
        held = self._stat(key)
        if held is not None and held.size == path.stat().st_size and (held.metadata or {}).get(DIGEST) == digest:
            return False
        name = self._name(key)
        self.call(
            lambda: self.client.fput_object(
                self.bucket, name, str(path), part_size=PART_SIZE, metadata={DIGEST: digest}
            ),
            f"put {self.url(key)}",
        )
        return True

    def get_file(self, key: str, path: Path) -> str:
        """Download a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        what = f"get {self.url(key)}"
        if self._unless_absent(lambda: self.client.fget_object(self.bucket, self._name(key), str(path)), what) is None:
            raise ValueError(f"{self.url(key)} does not exist; push it again")
        return sha256(path)

    def keys(self, prefix: str) -> list[str]:
        """All keys under a prefix, sorted."""
        start = prefix.removesuffix("/")
        whole = self._name(start)
        found = self.call(
            lambda: list(self.client.list_objects(self.bucket, whole, recursive=True)), f"list {self.url(start)}"
        )
        names = [str(entry.object_name) for entry in found]
        inside = [name for name in names if not whole or name == whole or name.startswith(f"{whole.rstrip('/')}/")]
        return sorted(name.removeprefix(self.prefix).removeprefix("/") for name in inside)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.call(lambda: self.client.remove_object(self.bucket, self._name(key)), f"delete {self.url(key)}")

    def etag(self, key: str) -> str:
        """The ETag of an object, which changes with its content; `ValueError` if there is none."""
        held = self._stat(key)
        if held is None:
            raise ValueError(f"{self.url(key)} does not exist; correct the address or upload it")
        return str(held.etag)

    def _name(self, key: str) -> str:
        return "/".join(part for part in (self.prefix, check_key(key) if key else "") if part)

    def _stat(self, key: str) -> Object | None:
        def attempt() -> Object:
            try:
                return self.client.stat_object(self.bucket, self._name(key))
            except S3Error as error:
                if error.code not in ABSENT:  # an answer to HEAD has no body that says why, one to GET has
                    self.client.get_object(self.bucket, self._name(key), length=1).close()
                raise

        return self._unless_absent(attempt, f"look at {self.url(key)}")

    def _unless_absent(self, call: Callable[[], T], what: str) -> T | None:
        try:
            return self.call(call, what)
        except S3Error as error:
            if error.code in ABSENT:
                return None
            raise

    def call(self, call: Callable[[], T], what: str) -> T:
        """Call with retries; an answer that callers expect stays an `S3Error`, all others are explained."""
        try:
            return retry(call, what, judge)
        except (MinioException, HTTPError, ParseError, UnicodeDecodeError) as error:
            if isinstance(error, S3Error) and error.code in (*ABSENT, *TAKEN):
                raise
            raise explained(error, what, self.bucket, _region()) from error


def open_s3(uri: str) -> S3Store:
    """The store at s3://bucket/prefix; `ValueError` names what is missing from the address or the environment."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if not bucket:
        raise ValueError(f"{uri!r} names no bucket; write s3://bucket/prefix")
    try:
        check_bucket_name(bucket)
    except ValueError as error:
        raise ValueError(f"{uri!r}: {error}; it has 3 to 63 letters, digits, dots and dashes") from None
    if prefix:
        check_key(prefix)
    return S3Store(_client(), bucket, prefix)


def object_etag(uri: str) -> str:
    """The ETag of the object at s3://bucket/key."""
    store, key = _object(uri)
    return store.etag(key)


def fetch_object(uri: str, path: Path) -> None:
    """Download the object at s3://bucket/key to `path`; `ValueError` if there is none."""
    store, key = _object(uri)
    store.get_file(key, path)


def _object(uri: str) -> tuple[S3Store, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not key:
        raise ValueError(f"{uri!r} names no object; write s3://bucket/key")
    return open_s3(f"s3://{bucket}"), key


def _client() -> Minio:
    names = ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise ValueError(f"an s3:// address needs {', '.join(missing)} in the environment; set it, or its secret")
    endpoint, access_key, secret_key = (os.environ[name] for name in names)
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise ValueError(f"S3_ENDPOINT is {endpoint!r}; write http://host:port or https://host")
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # `retry` tells what is tried again
    # The client's own pool waits five minutes for a server that is not there.
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        retries=Patience(total=2, backoff_factor=0.2, status_forcelist=BUSY[2:], raise_on_status=False),
        **_trusted(),
    )
    try:
        return Minio(
            parts.netloc, access_key=access_key, secret_key=secret_key, secure=parts.scheme == "https",
            session_token=os.environ.get("AWS_SESSION_TOKEN") or None, region=_region(), http_client=pool,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"S3_ENDPOINT {endpoint!r} or AWS_REGION {_region()!r} cannot be used: {error}") from None


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION


def _trusted() -> dict[str, Any]:
    """Whose certificates are trusted, if the environment says so, as an option of urllib3's pool."""
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        if place := os.environ.get(name):
            try:
                if not os.path.isdir(place):
                    ssl.create_default_context(cafile=place)
            except OSError as error:
                raise ValueError(f"{name} is {place!r}, which is no file of certificates: {error}") from None
            return {"ca_cert_dir" if os.path.isdir(place) else "ca_certs": place}
    return {}
