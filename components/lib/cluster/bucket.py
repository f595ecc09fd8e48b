"""Make a bucket and its lifecycle rule; run by the Job of manifests/components/minio.

    python3 -m components.lib.cluster.bucket NAME [--expire-logs DAYS]

Server and credentials are those of lib/registry/s3.py. May be run again: the rules are replaced.
"""

import argparse
import sys
from typing import Any

RULE = "grpo-pipeline-expire"
# Argo's archived logs, where KFP is not in multi-user mode: nothing of KFP, its cache or a registry.
LOGS = "private-artifacts/"


def expire_logs(client: Any, name: str, days: int) -> None:
    """Let Argo's logs end after `days`; this is then the bucket's only rule."""
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

    rule = Rule(ENABLED, rule_filter=Filter(prefix=LOGS), rule_id=RULE, expiration=Expiration(days=days))
    client.set_bucket_lifecycle(name, LifecycleConfig([rule]))


def make(client: Any, name: str, days: int | None) -> None:
    """Make a bucket unless it is there; with `days`, also the rule for its logs."""
    there = client.bucket_exists(name)
    if not there:
        client.make_bucket(name)
    print(f"bucket {name}: {'was there' if there else 'made'}")
    if days:
        expire_logs(client, name, days)
        print(f"objects under {LOGS} end after {days} days")


def main(given: list[str] | None = None) -> int:
    """Make what the command line asks for."""
    from components.lib.registry.s3 import open_s3

    parser = argparse.ArgumentParser(prog="components.lib.cluster.bucket")
    parser.add_argument("name")
    parser.add_argument("--expire-logs", type=int, metavar="DAYS")
    arguments = parser.parse_args(given)
    try:
        store = open_s3(f"s3://{arguments.name}")
        store.call(lambda: make(store.client, arguments.name, arguments.expire_logs), f"make bucket {arguments.name}")
    except (ValueError, ConnectionError) as error:
        print(f"components.lib.cluster.bucket: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
