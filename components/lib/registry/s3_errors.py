"""What goes wrong with an S3 server, in one line that says what to set; and what of it may pass by itself."""

import os
import socket
import ssl
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3
from minio.error import InvalidResponseError, S3Error, ServerError
from minio.time import utcnow
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, ProtocolError, SSLError

from components.lib.retry import Transient

BUSY = (429, 500, 502, 503, 504)  # HTTP status
AGAIN = ("RequestTimeout", "NoSuchUpload")  # S3's codes; an upload that the server has lost begins anew
TLS_ALERT = "\\x15\\x03"  # how a server that expects TLS begins its answer to plain HTTP
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_REFUSED = f"{{endpoint}} refuses the credentials ({{code}}); check {KEYS}, and that they may use bucket {{bucket!r}}"
_EXPIRED = f"{{endpoint}} refuses the temporary keys ({{code}}); renew AWS_SESSION_TOKEN together with {KEYS}"
_REGION = "{endpoint} wants another region than {region!r} ({code}: {message}); set AWS_REGION"
_CLOCK = "the clock here is {skew} that of {endpoint} ({code}); set it right"
_FULL = "the disk of {endpoint} is full; free some space there"
# S3's error code -> what is wrong, and what helps.
_ADVICE = {
    "NoSuchBucket": "there is no bucket {bucket!r} at {endpoint}; create it",
    "InvalidBucketName": "{endpoint} allows no bucket of the name {bucket!r} ({code}); choose another one",
    "AccessDenied": _REFUSED,
    "InvalidAccessKeyId": _REFUSED,
    "SignatureDoesNotMatch": _REFUSED,
    "InvalidToken": _EXPIRED,
    "InvalidTokenId": _EXPIRED,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "InvalidRegion": _REGION,
    "PermanentRedirect": _REGION,
    "Redirect": _REGION,
    "TemporaryRedirect": _REGION,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "NotImplemented": "{endpoint} cannot do it ({message}); a registry needs If-None-Match, as MinIO and AWS have it",
    "XMinioStorageFull": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "QuotaExceeded": _FULL,
}


class Patience(urllib3.Retry):
    """urllib3's own retries, those of a part of an upload; none for what cannot get better."""

    def increment(
        self, method: Any = None, url: Any = None, response: Any = None, error: Exception | None = None, *more: Any,
        **named: Any,
    ) -> "Patience":  # fmt: skip
        """The retries that are left; raises the error that has used them up."""
        if error is not None and _hopeless(error):
            raise error
        return super().increment(method, url, response, error, *more, **named)


def judge(error: Exception) -> Transient | None:
    """Why an error may pass by itself; None if it cannot."""
    if isinstance(error, S3Error):
        busy = error.response.status in BUSY or error.code in AGAIN
        return Transient(str(error.code)) if busy else None
    if isinstance(error, InvalidResponseError):  # a proxy's page
        return Transient(f"HTTP {error._code}") if error._code in BUSY else None
    if isinstance(error, HTTPError) and not _hopeless(error):
        return Transient(_short(error))
    return Transient(str(error)) if isinstance(error, ServerError) else None


def explained(error: Exception, what: str, bucket: str, region: str) -> Exception:
    """A `ValueError` for what a user can correct, a `ConnectionError` for a server that is silent or strange."""
    endpoint = os.environ.get("S3_ENDPOINT", "")
    if isinstance(error, S3Error):
        known = {"code": error.code, "message": error.message, "bucket": bucket, "endpoint": endpoint, "region": region}
        if error.code not in _ADVICE:
            return ConnectionError(f"{what}: {endpoint} answers {error.code}: {error.message}")
        return ValueError(f"{what}: {_ADVICE[error.code].format(**known, skew=_skew(error))}")
    if isinstance(error, HTTPError):
        return _of_connection(error, what, endpoint)
    page = f"HTTP {error._code}, {error._content_type}" if isinstance(error, InvalidResponseError) else str(error)
    if isinstance(error, InvalidResponseError) and "HTTPS" in (error._body or ""):
        return ValueError(f"{what}: {endpoint} speaks TLS only; write https:// in S3_ENDPOINT")
    advice = "check S3_ENDPOINT and what stands before it"
    return ConnectionError(f"{what}: {endpoint} does not speak S3 ({page}); {advice}")  # its own text is the whole page


def _of_connection(error: HTTPError, what: str, endpoint: str) -> Exception:
    cause = _cause(error)
    tls = next((part for part in _parts(cause) if isinstance(part, ssl.SSLError)), None)
    if isinstance(tls, ssl.SSLCertVerificationError):
        advice = "name its CA's file in AWS_CA_BUNDLE or SSL_CERT_FILE, or correct S3_ENDPOINT"
        return ValueError(f"{what}: the certificate of {endpoint} is not trusted ({tls.verify_message}); {advice}")
    if tls is not None and _hopeless(error):
        return ValueError(f"{what}: {endpoint} does not speak TLS ({tls.reason}); write http:// in S3_ENDPOINT")
    if isinstance(cause, ProtocolError) and TLS_ALERT in str(cause):
        return ValueError(f"{what}: {endpoint} speaks TLS only; write https:// in S3_ENDPOINT")
    if isinstance(cause, NameResolutionError):
        return ConnectionError(f"{what}: the host of {endpoint} is not found ({_short(error)}); check S3_ENDPOINT")
    return ConnectionError(f"{what}: no answer from {endpoint} ({_short(error)}); check S3_ENDPOINT")


def _hopeless(error: Exception) -> bool:
    """Whether a connection will fail in this way again."""
    cause = _cause(error)
    if isinstance(cause, SSLError):
        lasting = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
        return any(getattr(part, "reason", None) in lasting for part in _parts(cause))
    if isinstance(cause, NameResolutionError):
        return getattr(cause.__cause__, "errno", None) != socket.EAI_AGAIN
    return isinstance(cause, ProtocolError) and TLS_ALERT in str(cause)


def _cause(error: Exception) -> Exception:
    return error.reason if isinstance(error, MaxRetryError) and error.reason else error


def _parts(error: BaseException) -> list[BaseException]:
    """An error and those that it was made of."""
    return [error, *(part for part in error.args if isinstance(part, BaseException))]


def _short(error: Exception) -> str:
    """The end of urllib3's text, without pools, addresses and Python objects."""
    return str(_parts(_cause(error))[-1]).rpartition(": ")[2]


def _skew(error: S3Error) -> str:
    """How far the clocks are apart, by the date of the answer."""
    try:
        there = parsedate_to_datetime(error.response.headers.get("Date", ""))
    except ValueError:
        return "far from"
    behind = (there - utcnow()).total_seconds()
    return f"{abs(behind):,.0f} s {'behind' if behind > 0 else 'ahead of'}"
