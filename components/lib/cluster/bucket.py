"""Make a bucket and its lifecycle rules; run by the Job of manifests/components/minio.

    python3 -m components.lib.cluster.bucket NAME [--expire private-artifacts/ --days N]

Server and credentials are those of lib/registry/s3.py. May be run again: the rules are replaced.
"""

import argparse
import sys
from typing import Any

RULE = "grpo-pipeline-expire"
LOGS = "private-artifacts/"  # Argo's archived logs, where KFP is not in multi-user mode


def make_bucket(client: Any, name: str) -> bool:
    """Make the bucket unless it is there; whether it was made."""
    if client.bucket_exists(name):
        return False
    client.make_bucket(name)
    return True


def expire(client: Any, name: str, prefix: str, days: int) -> None:
    """Let objects under `prefix` end after `days`; this is then the bucket's only rule."""
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

    if prefix != LOGS:
        raise ValueError(f"--expire {prefix!r}: only {LOGS} holds nothing of KFP, its cache or a registry; name that")
    rule = Rule(ENABLED, rule_filter=Filter(prefix=prefix), rule_id=RULE, expiration=Expiration(days=days))
    client.set_bucket_lifecycle(name, LifecycleConfig([rule]))


def main(given: list[str] | None = None) -> int:
    """Make what the command line asks for."""
    from components.lib.registry.s3 import open_s3

    parser = argparse.ArgumentParser(prog="components.lib.cluster.bucket")
    parser.add_argument("name")
    parser.add_argument("--expire", default="", metavar="PREFIX/")
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args(given)
    client = open_s3(f"s3://{arguments.name}").client
    made = make_bucket(client, arguments.name)
    print(f"bucket {arguments.name}: {'made' if made else 'was there'}")
    if arguments.expire:
        expire(client, arguments.name, arguments.expire, arguments.days)
        print(f"objects under {arguments.expire} end after {arguments.days} days")
    return 0


if __name__ == "__main__":
    sys.exit(main())
