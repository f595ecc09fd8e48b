"""The Job that makes KFP's bucket, on a real MinIO."""

import pytest

from components.cluster import bucket
from tests.minio_server import MISSING, MinioServer, find_minio

pytestmark = pytest.mark.skipif(find_minio() is None, reason=MISSING)


def test_a_bucket_is_made_once_and_its_rule_is_replaced(tmp_path, monkeypatch, capsys):
    with MinioServer(tmp_path) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        for days in ("30", "7"):
            assert bucket.main(["mlpipeline", "--expire", "private-artifacts/", "--days", days]) == 0
        rules = server.client().get_bucket_lifecycle("mlpipeline").rules
        assert [(rule.rule_filter.prefix, rule.expiration.days) for rule in rules] == [("private-artifacts/", 7)]
    assert "bucket mlpipeline: made" in (out := capsys.readouterr().out) and "bucket mlpipeline: was there" in out


@pytest.mark.parametrize("prefix", ["v2/artifacts/", "models/", "runs/x/", "private-artifacts"])
def test_what_cache_and_registry_need_never_expires(prefix):
    with pytest.raises(ValueError, match="holds nothing of cache or registry"):
        bucket.expire(None, "mlpipeline", prefix, 1)
