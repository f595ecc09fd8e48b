"""The S3 store against a real MinIO server, and the faults that it must survive or name."""

import io
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.lib import retry
from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.s3 import PART_SIZE, fetch_object, object_etag, open_s3
from components.lib.registry.store import open_store
from components.push.push import push
from tests.fixtures.minio_server import MISSING, MinioServer, find_minio
from tests.fixtures.raw_server import NO_XML, raw_server
from tests.fixtures.releases import make_run

pytestmark = pytest.mark.skipif(find_minio() is None, reason=MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with MinioServer(tmp_path_factory.mktemp("minio")) as running:
        yield running


@pytest.fixture
def store(server: MinioServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    """An empty store in a bucket of its own."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.1)
    bucket = f"test-{abs(hash(request.node.name))}"
    server.client().make_bucket(bucket)
    return open_store(f"s3://{bucket}/registry")


def write_tree(directory: Path, weights: int = 1000) -> Path:
    (directory / ".eval_results").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / ".eval_results" / "gsm8k.yaml").write_text("- value: 1\n")
    (directory / "model.safetensors").write_bytes(os.urandom(weights))
    return directory


def kill_at_first_part(server: MinioServer, back: bool) -> None:
    """In the background, kill the server when the first part of an upload lies on its disk, then start it again."""

    def work() -> None:
        while not any((server.data / ".minio.sys" / "multipart").rglob("part.*")):
            time.sleep(0.01)
        server.kill()
        if back:
            time.sleep(1)
            server.start()

    threading.Thread(target=work, daemon=True).start()


def test_values_keys_and_locks(store: Store) -> None:
    assert store.read_json("champion.json") is None and store.keys("") == []
    store.write_json("champion.json", {"version": "v1"})
    store.write_json("champion.json", {"version": "v2"})
    assert store.read_json("champion.json") == {"version": "v2"}
    assert store.create("locks/run.json", {"owner": 1})
    assert store.create("locks/run.json", {"owner": 1}), "the same owner may ask again"
    assert not store.create("locks/run.json", {"owner": 2})
    assert store.read_json("locks/run.json") == {"owner": 1}
    store.write_json("runs/r1/a.json", 1)
    store.write_json("runs/r10/a.json", 1)
    assert store.keys("runs/r1") == store.keys("runs/r1/") == ["runs/r1/a.json"]
    assert store.keys("locks/run.json") == ["locks/run.json"]
    assert store.delete_tree("runs/r1") == 1
    assert store.keys("") == ["champion.json", "locks/run.json", "runs/r10/a.json"]
    assert store.url("a/b").startswith("s3://test-") and store.url("a/b").endswith("/registry/a/b")


def test_only_one_of_many_threads_creates_a_key(store: Store) -> None:
    won: list[int] = []
    start = threading.Barrier(6)

    def take(number: int) -> None:
        own = open_store(store.url(""))
        start.wait()
        if own.create("lock.json", {"owner": number}):
            won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and store.read_json("lock.json") == {"owner": won[0]}


def test_a_tree_in_parts_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "model", weights=2 * PART_SIZE + 5)
    assert store.put_tree("models/v1", tree) == 3
    assert store.put_tree("models/v1", tree) == 0
    assert store.get_tree("models/v1", tmp_path / "out") == 3
    assert (tmp_path / "out/model.safetensors").read_bytes() == (tree / "model.safetensors").read_bytes()
    (tree / "config.json").write_text('{"new": 1}')
    assert store.put_tree("models/v1", tree) == 1
    assert store.get_tree("models/v1", tmp_path / "out") == 1


def test_a_damaged_object_is_found(store: Store, server: MinioServer, tmp_path: Path) -> None:
    store.put_tree("models/v1", write_tree(tmp_path / "model"))
    bucket, _, name = store.url("models/v1/model.safetensors").removeprefix("s3://").partition("/")
    server.client().put_object(bucket, name, io.BytesIO(b"x" * 1000), 1000)
    with pytest.raises(ValueError, match=r"model\.safetensors has SHA-256 .* damaged"):
        store.get_tree("models/v1", tmp_path / "out")


def test_push_works_on_a_bucket(store: Store, tmp_path: Path) -> None:
    run = make_run(tmp_path, registry=store.url(""))
    pushed = push(**run)
    assert pushed["location"] == store.url(f"models/{pushed['version']}")
    assert push(**run) == pushed
    assert read_champion(store)["version"] == pushed["version"]
    assert store.get_tree(f"models/{pushed['version']}", tmp_path / "out") == 14


def test_objects_are_sources(store: Store, tmp_path: Path) -> None:
    store.write("rows.jsonl", b'{"a": 1}\n')
    first = object_etag(store.url("rows.jsonl"))
    fetch_object(store.url("rows.jsonl"), tmp_path / "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_bytes() == b'{"a": 1}\n'
    store.write("rows.jsonl", b'{"a": 2}\n')
    assert object_etag(store.url("rows.jsonl")) != first
    with pytest.raises(ValueError, match=r"nothing\.jsonl does not exist"):
        object_etag(store.url("nothing.jsonl"))


def test_wrong_credentials_and_buckets_are_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"there is no bucket 'no-such-bucket' at http.*; create it"):
        open_store("s3://no-such-bucket/x").read_json("a")
    with pytest.raises(ValueError, match="there is no bucket"):
        open_store("s3://no-such-bucket/x").write_json("a", 1)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(ValueError, match=r"refuses the credentials \(SignatureDoesNotMatch\); check AWS_ACCESS_KEY_ID"):
        open_store(store.url("")).read_json("a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(ValueError, match=r"refuses the credentials \(InvalidAccessKeyId\)"):
        open_store(store.url("")).write_json("a", 1)


def test_a_server_that_is_not_there_is_named_within_seconds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    started = time.monotonic()
    with pytest.raises(ConnectionError, match=r"no answer from http://127\.0\.0\.1:9 .*; check S3_ENDPOINT"):
        open_store(store.url("")).read_json("a")
    assert time.monotonic() - started < 10


def test_a_proxys_page_is_retried_or_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib3 itself tries 502 to 504 again, so the page is one of 500."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    busy = NO_XML.replace(b"403", b"500")
    with raw_server(busy, busy, NO_XML) as (url, received):
        monkeypatch.setenv("S3_ENDPOINT", url)
        with pytest.raises(ConnectionError, match=r"does not speak S3 \(HTTP 403, text/html\); check S3_ENDPOINT"):
            open_store(store.url("")).read_json("a")
    assert len(received) == 3


def test_bad_addresses_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for uri in ("s3://", "s3:///x"):
        with pytest.raises(ValueError, match="names no bucket"):
            open_s3(uri)
    with pytest.raises(ValueError, match="names no object"):
        object_etag("s3://bucket")
    with pytest.raises(ValueError, match="bad registry key"):
        store.read_json("../other")
    monkeypatch.setenv("S3_ENDPOINT", "minio:9000")
    with pytest.raises(ValueError, match=r"S3_ENDPOINT is 'minio:9000'; write http://host:port"):
        open_s3("s3://bucket")
    monkeypatch.delenv("S3_ENDPOINT")
    with pytest.raises(ValueError, match="needs S3_ENDPOINT in the environment"):
        open_s3("s3://bucket")


def test_a_server_killed_during_an_upload_comes_back_and_the_upload_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "model", weights=4 * PART_SIZE)
    with MinioServer(tmp_path / "minio") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.client().make_bucket("models")
        store = open_store("s3://models")
        kill_at_first_part(server, back=True)
        assert store.put_tree("models/v1", tree) == 3
        assert store.get_tree("models/v1", tmp_path / "out") == 3


def test_a_server_that_stays_away_leaves_no_half_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    tree = write_tree(tmp_path / "model", weights=4 * PART_SIZE)
    with MinioServer(tmp_path / "minio") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.client().make_bucket("models")
        store = open_store("s3://models")
        kill_at_first_part(server, back=False)
        with pytest.raises(ConnectionError, match="no answer from"):
            store.put_tree("models/v1", tree)
        server.start()
        with pytest.raises(ValueError, match="holds no finished tree"):
            store.get_tree("models/v1", tmp_path / "out")
        assert store.put_tree("models/v1", tree) == 1, "only the file that was cut off is sent again"
        assert store.get_tree("models/v1", tmp_path / "out") == 3


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("may not mount a small file system: the message of a full disk is not tested")
    try:
        with MinioServer(disk) as server:
            for name, value in server.environment().items():
                monkeypatch.setenv(name, value)
            server.client().make_bucket("models")
            tree = write_tree(tmp_path / "model", weights=128 << 20)
            with pytest.raises(ValueError, match=r"the disk of http.* is full; free some space there"):
                open_store("s3://models").put_tree("models/v1", tree)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
