"""What an S3 server refuses, and what stands in the way to it: one line each, with the variable to set."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import minio
import pytest
from minio.credentials import AssumeRoleProvider

import pipeline
from components.lib import retry
from components.lib.registry.s3 import object_etag
from components.lib.registry.store import open_store
from tests import ROOT
from tests.fixtures.minio_server import ACCESS_KEY, MISSING, SECRET_KEY, MinioServer, find_minio
from tests.fixtures.raw_server import NO_XML, raw_server

pytestmark = pytest.mark.skipif(find_minio() is None, reason=MISSING)

REGION = "eu-central-1"
HOUR = timedelta(hours=1)
PLACE = "s3://runs/registry"
POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}]}'


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA of our own, ca.crt, and what it signed for 127.0.0.1, public.crt and private.key."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509"]
    asked = [
        [*new, "-subj", "/CN=own CA", "-keyout", "ca.key", "-out", "ca.crt"],
        [*new, "-subj", "/CN=minio", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:false",
         "-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", "private.key", "-out", "public.crt"],
    ]  # fmt: skip
    for command in asked:
        subprocess.run([*command, "-days", "2"], cwd=folder, check=True, capture_output=True)
    return folder


def serve(server: MinioServer) -> Iterator[MinioServer]:
    with server:
        server.client().make_bucket("runs", location=server.settings.get("MINIO_SITE_REGION"))
        yield server


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A server that insists on its region."""
    yield from serve(MinioServer(tmp_path_factory.mktemp("plain"), MINIO_SITE_REGION=REGION))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[MinioServer]:
    """A server that speaks TLS."""
    yield from serve(MinioServer(tmp_path_factory.mktemp("secure"), certificates))


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)


def history(capsys: pytest.CaptureFixture[str], out: Path, registry: str = PLACE) -> tuple[str, str]:
    """What the verb `history` says on stderr, which is one line, and all that it printed before."""
    assert pipeline.main(["history", "--registry", registry, "--output", str(out / "history.html")]) == 2
    printed, said = capsys.readouterr()
    assert said.startswith("pipeline.py history: ") and said.count("\n") == 1
    return said.strip(), printed


QUICK = "import sys, pipeline; from components.lib import retry; retry.FIRST_WAIT_S = 0.01; sys.exit(pipeline.main())"


REFUSALS = {
    "the bucket lies in another region": (
        {"AWS_REGION": "us-west-2"}, "another region than 'us-west-2' .*expecting 'eu-central-1'.*; set AWS_REGION"
    ),
    "no region has such a name": ({"AWS_REGION": "not a region"}, "AWS_REGION 'not a region' cannot be used"),
    "the secret key is wrong": ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, r"refuses the credentials \(Signature"),
    "the access key is unknown": ({"AWS_ACCESS_KEY_ID": "nobody"}, r"\(InvalidAccessKeyId\); check AWS_ACCESS_KEY_ID"),
    "the session's token is no good": ({"AWS_SESSION_TOKEN": "old"}, r"\(InvalidTokenId\); renew AWS_SESSION_TOKEN"),
    "there is no such bucket": ({"PLACE": "s3://none/x"}, "there is no bucket 'none' at .*; create it"),
    "a bucket may not have such a name": ({"PLACE": "s3://Upper_Case/x"}, "allows no bucket of the name 'Upper_Case'"),
    "no bucket has such a name": ({"PLACE": "s3://a..b/x"}, "bucket name a..b contains invalid .*; it has 3 to 63"),
    "the server speaks HTTP and is asked by HTTPS": ({"SCHEME": "https"}, "does not speak TLS .*; write http://"),
    "the host of the server is unknown": ({"S3_ENDPOINT": "http://no-such-host.invalid"}, "is not found .*S3_ENDPOINT"),
    "the file of certificates is missing": ({"AWS_CA_BUNDLE": "/none"}, "AWS_CA_BUNDLE is '/none', which is no file"),
}  # fmt: skip


@pytest.mark.fault("S3 refuses")
@pytest.mark.parametrize("fault", REFUSALS)
def test_what_cannot_get_better_is_one_line_and_not_tried_again(plain, monkeypatch, capsys, tmp_path, seen, fault):
    changes, expected = REFUSALS[fault]
    place, scheme = changes.get("PLACE", PLACE), changes.get("SCHEME", "http")
    endpoint = {"S3_ENDPOINT": plain.url.replace("http", scheme)}
    use(monkeypatch, plain.environment() | {"AWS_REGION": REGION} | endpoint | changes)
    said, printed = history(capsys, tmp_path, place)
    assert re.search(expected, said) and "try 2 of" not in printed
    seen(said, fault=fault)


@pytest.mark.fault("the clock is an hour off")
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_clocks_that_differ_are_named_with_the_difference(plain, monkeypatch, capsys, tmp_path, seen, ahead):
    now = minio.time.utcnow
    for module in ("minio.time", "components.lib.registry.s3_errors"):
        monkeypatch.setattr(f"{module}.utcnow", lambda: now() + ahead)
    use(monkeypatch, plain.environment() | {"AWS_REGION": REGION})
    said, printed = history(capsys, tmp_path)
    assert re.search(r"the clock here is 3,(599|600|601) s ", said)
    assert ("ahead of" if ahead > timedelta(0) else "behind") in said and "RequestTimeTooSkewed" in said
    with pytest.raises(ValueError, match="RequestTimeTooSkewed"):  # HEAD, which has no body that would say so
        object_etag("s3://runs/rows.jsonl")
    assert "try 2 of" not in printed
    seen(said)


@pytest.mark.fault("the certificate of the S3 server is signed by a CA that nobody here knows")
def test_an_unknown_ca_is_named_and_not_tried_again(secure, monkeypatch, capsys, tmp_path, seen):
    use(monkeypatch, secure.environment())
    said, printed = history(capsys, tmp_path)
    assert "is not trusted (" in said and "AWS_CA_BUNDLE or SSL_CERT_FILE" in said and "try 2 of" not in printed
    seen(said)


@pytest.mark.fault("the S3 server speaks HTTPS and is asked by HTTP")
def test_plain_http_to_a_server_of_tls_is_named(secure, monkeypatch, capsys, tmp_path, seen):
    use(monkeypatch, secure.environment() | {"S3_ENDPOINT": secure.url.replace("https", "http")})
    said, printed = history(capsys, tmp_path)
    assert "speaks TLS only; write https:// in S3_ENDPOINT" in said and "try 2 of" not in printed
    seen(said)


XML = b"HTTP/1.1 404 No\r\nContent-Type: application/xml\r\nContent-Length: 8\r\n\r\n"
STRANGE = {
    "an alert of TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS only; write https:// in S3_ENDPOINT"),
    "nothing": (b"", r"no answer from .* \(Remote end closed connection without response\); check S3_ENDPOINT"),
    "half a page of XML": (XML + b"<a><b><c", r"does not speak S3 \(unclosed token.*\); check S3_ENDPOINT"),
    "no text at all": (XML + b"\xff\xfe" * 4, r"does not speak S3 \('utf-8' codec can't .*\); check S3_ENDPOINT"),
    "a page for people": (NO_XML, r"does not speak S3 \(HTTP 403, text/html\); check S3_ENDPOINT and what stands bef"),
}


@pytest.mark.fault("what is at S3_ENDPOINT is no S3 server")
@pytest.mark.parametrize("fault", STRANGE)
def test_whatever_a_server_answers_is_one_line(plain, monkeypatch, capsys, tmp_path, seen, fault):
    answer, expected = STRANGE[fault]
    with raw_server(answer) as (url, _):
        use(monkeypatch, plain.environment() | {"S3_ENDPOINT": url})
        said, _ = history(capsys, tmp_path)
    assert re.search(expected, said), said
    seen(said, fault=f"what is at S3_ENDPOINT answers with {fault}")


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_ca_of_ones_own_is_trusted(secure, certificates, monkeypatch, name):
    use(monkeypatch, secure.environment() | {name: str(certificates / "ca.crt")})
    open_store(PLACE).write_json("a", 1)
    assert open_store(PLACE).read_json("a") == 1


def test_the_default_region_is_a_region(plain, monkeypatch):
    use(monkeypatch, plain.environment() | {"AWS_DEFAULT_REGION": REGION})
    open_store(PLACE).write_json("a", 1)


@pytest.mark.fault("temporary keys have no token")
def test_temporary_keys_work_with_their_token_alone(plain, monkeypatch, seen):
    given = AssumeRoleProvider(
        sts_endpoint=plain.url, access_key=ACCESS_KEY, secret_key=SECRET_KEY, policy=POLICY, region=REGION,
        duration_seconds=900,
    ).retrieve()  # fmt: skip
    keys = {"AWS_ACCESS_KEY_ID": given.access_key, "AWS_SECRET_ACCESS_KEY": given.secret_key, "AWS_REGION": REGION}
    use(monkeypatch, plain.environment() | keys | {"AWS_SESSION_TOKEN": given.session_token})
    open_store(PLACE).write_json("b", 2)
    assert open_store(PLACE).read_json("b") == 2
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    with pytest.raises(ValueError, match="AWS_SESSION_TOKEN") as refused:
        open_store(PLACE).read_json("b")
    seen(str(refused.value))


@pytest.mark.fault("the S3 server is dead")
@pytest.mark.parametrize(
    "verb", [("history", f"--registry={PLACE}"), ("run", f"--set=registry={PLACE}")], ids=["history", "run"]
)
def test_a_dead_server_is_tried_again_and_ends_in_one_line(monkeypatch, tmp_path, seen, verb):
    """Before any step has begun; in a process of its own, so that nothing hides what libraries print."""
    dead = {"S3_ENDPOINT": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    use(monkeypatch, dead)
    command = [sys.executable, "-c", QUICK, *verb, "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "no answer from http://127.0.0.1:9 ([Errno 111] Connection refused); check S3_ENDPOINT" in done.stderr
    assert "try 6 of 6" in done.stdout and "[preflight]" not in done.stdout
    seen(done.stderr)
