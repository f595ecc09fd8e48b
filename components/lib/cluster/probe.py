"""What `doctor` runs inside a Pod like a step's: whether it can write, reach bucket and Hub, and see a GPU.

python3 -m components.lib.cluster.probe write DIR...   exit status 1 if one is not writable
python3 -m components.lib.cluster.probe look [--registry URI] [--hub] [--push REPO [--push-data REPO]] [--gpu] [DIR...]
                                                   one JSON line per finding
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.lib.cluster.finding import Finding
from components.lib.gpu import missing, refused

SERVER_ERROR = 500  # HTTP status
FULL = "let the steps that train use the full trainer image of this commit (`make image`)"


def writable(directory: Path) -> Finding:
    """Whether this process can make and delete a file in a directory."""
    what = f"volume {directory}"
    try:
        with tempfile.NamedTemporaryFile(dir=directory):
            free = os.statvfs(directory)
    except OSError as error:
        return Finding(False, what, f"user {os.getuid()} cannot write there: {error.strerror}")
    return Finding(True, what, f"writable, {free.f_bavail * free.f_frsize / 2**30:.0f} GiB free")


def bucket(registry: str) -> Finding:
    """Whether the registry takes an object and gives it back."""
    from components.lib.registry.store import checked_registry

    try:
        checked_registry(registry)
    except (ValueError, OSError) as error:
        return Finding(False, "registry", str(error))
    return Finding(True, "registry", f"{registry} is writable")


def hub() -> Iterator[Finding]:
    """Whether the Hub answers, whether it knows HF_TOKEN, and what the token may do."""
    from httpx2 import TransportError
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    from components.lib.hub import retried, status_of

    if constants.is_offline_mode():
        yield Finding(True, "hub", "HF_HUB_OFFLINE is set: what a run needs must be in the cache")
        return
    token = bool(os.environ.get("HF_TOKEN"))
    ask = HfApi().whoami if token else lambda: HfApi().model_info("openai-community/gpt2")
    user: Any = {}
    try:
        user = retried(ask, f"ask {constants.ENDPOINT}")
    except (TransportError, ValueError) as error:
        yield Finding(False, "hub", f"{constants.ENDPOINT} does not answer: {error}")
        return
    except HfHubHTTPError as error:
        if token and (status_of(error) or 0) < SERVER_ERROR:
            yield Finding(False, "hub token", f"the Hub refuses it: {str(error).splitlines()[0]}")
            return
    yield Finding(True, "hub", f"{constants.ENDPOINT} answers")
    if token:
        role = user.get("auth", {}).get("accessToken", {}).get("role", "unknown")
        yield Finding(True, "hub token", f"of {user.get('name', 'nobody knows whom')}, role {role}")
    else:
        yield Finding(True, "hub token", "none is set; public models and data only")


def push(repo: str, data: str) -> Finding:
    """Whether HF_TOKEN may write the repository of the released model, and that of its data, if they have one."""
    from components.lib.hub import check_may_push

    try:
        check_may_push({"model": repo} | ({"dataset": data} if data else {}))
    except ValueError as error:
        return Finding(False, "push", str(error))
    return Finding(True, "push", f"{repo} may be written")


def gpu() -> Iterator[Finding]:
    """What torch sees of a GPU, and whether the kernels of linear attention are there and will train."""
    import torch

    if not torch.cuda.is_available():
        yield Finding(False, "gpu in the pod", f"torch {torch.__version__} for CUDA {torch.version.cuda} sees none")
        return
    major, minor = torch.cuda.get_device_capability()
    names = ", ".join(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count()))
    usable = f"sm_{major}{minor}" in torch.cuda.get_arch_list()
    wrong = "" if usable else f", but this torch has no kernels for sm_{major}{minor}"
    yield Finding(usable, "gpu in the pod", f"{names}, sm_{major}{minor}{wrong}")
    told = "; ".join(filter(None, (refused(), *missing())))
    yield Finding(not told, "kernels", told or "flash-linear-attention and causal-conv1d are there", FULL)


def look(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Every finding that was asked for."""
    yield Finding(True, "image", f"runs as user {os.getuid()}, Python {sys.version.split()[0]}")
    for directory in arguments.directories:
        yield writable(Path(directory))
    if arguments.registry:
        yield bucket(arguments.registry)
    if arguments.hub:
        yield from hub()
    if arguments.push:
        yield push(arguments.push, arguments.push_data)
    if arguments.gpu:
        yield from gpu()


def main(given: list[str] | None = None) -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(prog="components.lib.cluster.probe")
    parser.add_argument("command", choices=("write", "look"))
    parser.add_argument("directories", nargs="*", metavar="DIR")
    parser.add_argument("--registry", default="")
    parser.add_argument("--hub", action="store_true", help="the recipe reads or writes the Hub")
    parser.add_argument("--push", default="", metavar="REPO")
    parser.add_argument("--push-data", default="", metavar="REPO")
    parser.add_argument("--gpu", action="store_true")
    arguments = parser.parse_args(given)
    if arguments.command == "look":
        for finding in look(arguments):
            print(json.dumps(asdict(finding)), flush=True)
        return 0
    findings = [writable(Path(directory)) for directory in arguments.directories]
    for finding in findings:
        print(f"{finding.what}: {finding.detail}")
    return 0 if all(finding.ok for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
