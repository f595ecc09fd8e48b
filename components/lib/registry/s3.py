"""A store in an S3 bucket, and single objects as sources, through the minio client.

The server is S3_ENDPOINT (http://host:port), the credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the
region AWS_REGION. Files above PART_SIZE go up in parts, each retried by itself; a file that is there already with
the same SHA-256 (kept in its metadata) is not sent again, which is how an interrupted upload resumes.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError

from components.lib.files import sha256
from components.lib.registry.base import Store, check_key
from components.lib.retry import Transient, retry

T = TypeVar("T")

PART_SIZE = 16 << 20  # bytes
CONNECT_S, READ_S = 5, 60
DEFAULT_REGION = "us-east-1"  # MinIO's
DIGEST = "x-amz-meta-sha256"
ABSENT = ("NoSuchKey", "NoSuchObject")
REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
BUSY = (
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "XMinioServerNotInitialized",
)
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
        self._call(
            lambda: self.client.put_object(self.bucket, name, io.BytesIO(data), len(data)), f"write {self.url(key)}"
        )

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Put an object only if there is none (If-None-Match)."""
        name = self._name(key)
        # The public put_object sends no conditions.
        headers: dict[str, str | list[str] | tuple[str]] = {"If-None-Match": "*", "Content-Type": "application/json"}
        try:
            self._call(lambda: self.client._put_object(self.bucket, name, data, headers), f"create {self.url(key)}")
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
        self._call(
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
        found = self._call(
            lambda: list(self.client.list_objects(self.bucket, whole, recursive=True)), f"list {self.url(start)}"
        )
        names = [str(entry.object_name) for entry in found]
        inside = [name for name in names if not whole or name == whole or name.startswith(f"{whole.rstrip('/')}/")]
        return sorted(name.removeprefix(self.prefix).removeprefix("/") for name in inside)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._call(lambda: self.client.remove_object(self.bucket, self._name(key)), f"delete {self.url(key)}")

    def etag(self, key: str) -> str:
        """The ETag of an object, which changes with its content; `ValueError` if there is none."""
        held = self._stat(key)
        if held is None:
            raise ValueError(f"{self.url(key)} does not exist; correct the address or upload it")
        return str(held.etag)

    def _name(self, key: str) -> str:
        return "/".join(part for part in (self.prefix, check_key(key) if key else "") if part)

    def _stat(self, key: str) -> Object | None:
        return self._unless_absent(
            lambda: self.client.stat_object(self.bucket, self._name(key)), f"look at {self.url(key)}"
        )

    def _unless_absent(self, call: Callable[[], T], what: str) -> T | None:
        try:
            return self._call(call, what)
        except S3Error as error:
            if error.code in ABSENT:
                return None
            raise

    def _call(self, call: Callable[[], T], what: str) -> T:
        """Call with retries; what a user can correct becomes a `ValueError`, a silent server a `ConnectionError`."""
        endpoint = os.environ.get("S3_ENDPOINT", "")
        try:
            return retry(call, what, _judge)
        except S3Error as error:
            if error.code == "NoSuchBucket":
                raise ValueError(f"{what}: there is no bucket {self.bucket!r} at {endpoint}; create it") from error
            if error.code in REFUSED:
                raise ValueError(
                    f"{what}: {endpoint} refuses the credentials ({error.code}); check AWS_ACCESS_KEY_ID and "
                    f"AWS_SECRET_ACCESS_KEY, and that they may use bucket {self.bucket!r}"
                ) from error
            if error.code == "XMinioStorageFull":
                raise ValueError(f"{what}: the disk of {endpoint} is full; free some space there") from error
            raise
        except InvalidResponseError as error:  # its text is the whole page
            raise ConnectionError(
                f"{what}: {endpoint} does not speak S3 (HTTP {error._code}, {error._content_type}); check S3_ENDPOINT "
                "and what stands before it"
            ) from error
        except (HTTPError, ServerError) as error:
            raise ConnectionError(f"{what}: no answer from {endpoint} ({error}); check S3_ENDPOINT") from error


def open_s3(uri: str) -> S3Store:
    """The store at s3://bucket/prefix; `ValueError` names what is missing from the address or the environment."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if not bucket:
        raise ValueError(f"{uri!r} names no bucket; write s3://bucket/prefix")
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
    # The client's own pool waits five minutes for a server that is not there.
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        retries=urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=[502, 503, 504], raise_on_status=False),
    )
    region = os.environ.get("AWS_REGION") or DEFAULT_REGION
    return Minio(
        parts.netloc, access_key=access_key, secret_key=secret_key, secure=parts.scheme == "https", region=region,
        http_client=pool,
    )  # fmt: skip


def _judge(error: Exception) -> Transient | None:
    if isinstance(error, S3Error):
        return Transient(str(error.code)) if error.code in BUSY else None
    if isinstance(error, InvalidResponseError):  # a proxy's page
        return Transient(f"HTTP {error._code}") if error._code == 429 or error._code >= 500 else None
    return Transient(str(error)) if isinstance(error, HTTPError | ServerError) else None
