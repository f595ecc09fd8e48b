"""The Job that makes KFP's bucket, on a real MinIO."""

import time

import pytest
import yaml
from minio import S3Error
from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import AbortIncompleteMultipartUpload, LifecycleConfig, Rule

from components.lib.cluster import bucket
from components.lib.registry.store import checked_registry
from tests import ROOT
from tests.fixtures.minio_server import MISSING, MinioServer, find_minio

MANIFEST = ROOT / "manifests" / "components" / "minio" / "minio.yaml"

pytestmark = pytest.mark.skipif(find_minio() is None, reason=MISSING)


def test_a_bucket_is_made_once_and_its_rule_is_replaced(tmp_path, monkeypatch, capsys):
    with MinioServer(tmp_path) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        for days in ("30", "7"):
            assert bucket.main(["mlpipeline", "--expire-logs", days]) == 0
        rules = server.client().get_bucket_lifecycle("mlpipeline").rules
        assert [(rule.rule_filter.prefix, rule.expiration.days) for rule in rules] == [("private-artifacts/", 7)]
    assert "bucket mlpipeline: made" in (out := capsys.readouterr().out) and "bucket mlpipeline: was there" in out


def test_the_user_of_the_bucket_may_use_no_other_one(tmp_path, monkeypatch):
    with MinioServer(tmp_path) as server:
        for name, value in (server.environment() | {"BUCKET_USER": "steps", "BUCKET_KEY": "key-of-the-steps"}).items():
            monkeypatch.setenv(name, value)
        for _ in range(2):
            assert bucket.main(["mlpipeline", "--user"]) == 0
        server.client().make_bucket("private")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "steps")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key-of-the-steps")
        checked_registry("s3://mlpipeline/registry")
        with pytest.raises(ValueError, match="private"):
            checked_registry("s3://private/registry")


def test_wrong_keys_are_one_line(tmp_path, monkeypatch, capsys):
    with MinioServer(tmp_path) as server:
        for name, value in (server.environment() | {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}).items():
            monkeypatch.setenv(name, value)
        assert bucket.main(["mlpipeline"]) == 2
    said = capsys.readouterr().err
    assert "make bucket mlpipeline: " in said and "refuses the credentials" in said and said.count("\n") == 1


def test_minio_takes_no_rule_for_unfinished_uploads_and_drops_them_by_its_own_setting(tmp_path):
    """Why manifests/components/minio sets MINIO_API_STALE_UPLOADS_EXPIRY, here with seconds in place of days."""
    deployment = next(item for item in yaml.safe_load_all(MANIFEST.read_text()) if item["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "MINIO_API_STALE_UPLOADS_EXPIRY", "value": "168h"} in container["env"]
    quick = {"MINIO_API_STALE_UPLOADS_EXPIRY": "3s", "MINIO_API_STALE_UPLOADS_CLEANUP_INTERVAL": "1s"}
    with MinioServer(tmp_path, **quick) as server:
        client = server.client()
        client.make_bucket("mlpipeline")
        abort = AbortIncompleteMultipartUpload(days_after_initiation=7)
        rule = Rule(ENABLED, rule_filter=Filter(prefix=""), abort_incomplete_multipart_upload=abort)
        with pytest.raises(S3Error, match="not well-formed"):
            client.set_bucket_lifecycle("mlpipeline", LifecycleConfig([rule]))
        upload = client._create_multipart_upload("mlpipeline", "models/big", {})
        client._upload_part("mlpipeline", "models/big", b"x", {}, upload, 1)
        parts = tmp_path / ".minio.sys" / "multipart"
        assert list(parts.rglob("part.*"))
        deadline = time.monotonic() + 60
        while list(parts.rglob("part.*")):
            assert time.monotonic() < deadline, "an unfinished upload stayed"
            time.sleep(0.2)
