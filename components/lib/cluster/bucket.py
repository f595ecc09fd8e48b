"""Make a bucket, its lifecycle rule and a user who may use it alone; run by the Job of manifests/components/minio.

    python3 -m components.lib.cluster.bucket NAME [--expire-logs DAYS] [--user]

Server and credentials are those of lib/registry/s3.py; the user's are BUCKET_USER and BUCKET_KEY. May be run again:
rules, the user's key and what the user may are replaced.
"""

import argparse
import os
import sys
from typing import Any
from urllib.parse import urlsplit

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


def add_user(name: str, user: str, key: str) -> None:
    """Make a user of MinIO who may do everything in one bucket, and nothing else."""
    from minio.credentials import EnvAWSProvider
    from minio.minioadmin import MinioAdmin

    server = urlsplit(os.environ["S3_ENDPOINT"])
    admin = MinioAdmin(endpoint=server.netloc, credentials=EnvAWSProvider(), secure=server.scheme == "https")
    policy = f"only-{name}"
    admin.user_add(user, key)
    admin.policy_add(policy, policy=only(name))
    admin.policy_set(policy, user=user)
    print(f"user {user} may use bucket {name} alone")


def only(name: str) -> dict[str, Any]:
    """The policy of a user of one bucket, as S3 has it."""
    where = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": where}]}


def main(given: list[str] | None = None) -> int:
    """Make what the command line asks for."""
    from components.lib.registry.s3 import open_s3

    parser = argparse.ArgumentParser(prog="components.lib.cluster.bucket")
    parser.add_argument("name")
    parser.add_argument("--expire-logs", type=int, metavar="DAYS")
    parser.add_argument("--user", action="store_true", help="whose name and key are BUCKET_USER and BUCKET_KEY")
    arguments = parser.parse_args(given)
    try:
        store = open_s3(f"s3://{arguments.name}")
        store.call(lambda: make(store.client, arguments.name, arguments.expire_logs), f"make bucket {arguments.name}")
        if arguments.user:
            add_user(arguments.name, os.environ["BUCKET_USER"], os.environ["BUCKET_KEY"])
    except (ValueError, ConnectionError) as error:
        print(f"components.lib.cluster.bucket: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
