"""Asking the Hub, again when it is busy or cut off, and the Hub's cache where HF_HUB_OFFLINE is set."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from httpx2 import TransportError
from huggingface_hub import HfApi, constants, get_cached_repo_tree
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import http_backoff

from components.lib import retry
from components.lib.files import write_text

T = TypeVar("T")

REFUSED = (401, 403)
WRITE = "repo.write"  # the permission of a fine-grained token to make and change repositories
WRITERS = ("admin", "write", "contributor")  # roles in an organization that may do so

# The library asks most things six times in 23 s by itself; times our own tries that would be minutes.
http_backoff.__kwdefaults__["max_retries"] = 0  # type: ignore[index]


class Unreachable(ValueError):
    """The Hub does not answer, or may not be asked and the cache does not have it."""


def retried(call: Callable[[], T], what: str) -> T:
    """Call with retries; the last error is raised as it is. `ValueError` at once if the way there is a dead proxy."""
    if not constants.is_offline_mode():
        retry.refuse_dead_proxy(constants.ENDPOINT)
    return retry.retry(call, what, retry.judge_http)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error, None if the Hub did not answer."""
    return retry.status_of(error)[0]


def commit_of(kind: str, repo: str, revision: str) -> str:
    """The commit that a Hub revision points at now, offline that of the cache; `kind` is "model" or "dataset".

    The cache remembers it, so that the revision can be used offline later.
    """
    if constants.is_offline_mode():
        return _cached_commit(kind, repo, revision)
    commit = _fetched(
        lambda: HfApi().repo_info(repo, repo_type=kind, revision=revision).sha, "look up", kind, repo, revision
    )
    if not commit:
        raise ValueError(f"the Hub names no commit for {kind} {repo!r} at {revision!r}")
    if commit != revision:
        with contextlib.suppress(OSError):  # a cache that only others fill
            write_text(_cache(kind, repo) / "refs" / revision, commit)
    return commit


def check_readable(kind: str, repo: str) -> None:
    """Refuse a gated repository whose files HF_TOKEN may not read; whatever else is wrong, the first file will tell."""
    if constants.is_offline_mode():
        return
    try:
        retried(lambda: HfApi().auth_check(repo, repo_type=kind), f"ask whether {repo} may be read")
    except GatedRepoError:
        raise _gated(kind, repo) from None
    except (HfHubHTTPError, TransportError) as error:  # a mirror may not know the question
        print(f"{kind} {repo}: whether it may be read is not told (HTTP {status_of(error)})", flush=True)


def names_of(repo: str, commit: str) -> list[str]:
    """The names of a model's files at a commit, with their folders; offline as far as the cache knows them."""
    kind = "model"
    if not constants.is_offline_mode():
        return _fetched(
            lambda: HfApi().list_repo_files(repo, repo_type=kind, revision=commit), "list", kind, repo, commit
        )
    try:
        return [file.path for file in get_cached_repo_tree(repo, repo_type=kind, revision=commit)]
    except CachedRepoTreeNotFoundError:  # it was fetched file by file, perhaps not all
        folder = _cache(kind, repo) / "snapshots" / commit
        if not any(folder.glob("*.safetensors")):
            raise _not_cached(kind, repo, commit) from None
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*")]


def snapshot(kind: str, repo: str, revision: str, patterns: Sequence[str]) -> Path:
    """The directory in the Hub's cache with a repository's files that match, fetched where they are not there yet."""
    return Path(
        _fetched(
            lambda: HfApi().snapshot_download(repo, repo_type=kind, revision=revision, allow_patterns=list(patterns)),
            "download", kind, repo, revision,
        )
    )  # fmt: skip


def file_of(kind: str, repo: str, name: str, revision: str) -> Path:
    """One file of a repository, in the Hub's cache."""
    return Path(
        _fetched(
            lambda: HfApi().hf_hub_download(repo, name, repo_type=kind, revision=revision),
            f"download {name} of", kind, repo, revision,
        )
    )  # fmt: skip


def outline(kind: str, repo: str, revision: str, names: Sequence[str], folder: Path) -> None:
    """Make `folder` look like a repository: the files `names` as they are, where they exist, all others empty."""
    commit = commit_of(kind, repo, revision)
    held = snapshot(kind, repo, commit, names)
    try:
        files = get_cached_repo_tree(repo, repo_type=kind, revision=commit)
    except CachedRepoTreeNotFoundError:
        raise _not_cached(kind, repo, revision) from None
    for path in (file.path for file in files):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes((held / path).read_bytes() if path in names else b"")


def _fetched(call: Callable[[], T], what: str, kind: str, repo: str, revision: str) -> T:
    """`retried`, with the errors of reading a repository as `ValueError`s that say what to do."""
    try:
        return retried(call, f"{what} {kind} {repo}")
    except RevisionNotFoundError:
        raise ValueError(f"{kind} {repo!r} has no revision {revision!r} on the Hub; use main or a commit") from None
    except GatedRepoError:
        raise _gated(kind, repo) from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"{kind} {repo!r} is not on the Hub, or HF_TOKEN may not read it; check the name and the token"
        ) from None
    except (EntryNotFoundError, HfHubHTTPError, TransportError) as error:
        if constants.is_offline_mode():
            raise _not_cached(kind, repo, revision) from None
        if status_of(error) == 404:
            raise ValueError(f"{kind} {repo!r} at {revision!r} lacks it: {_one_line(error)}") from None
        raise Unreachable(f"the Hub did not answer for {kind} {repo!r}: {_one_line(_root(error))}") from error


def _gated(kind: str, repo: str) -> ValueError:
    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    return ValueError(
        f"{kind} {repo!r} is gated, and HF_TOKEN may not read it; accept the conditions on {page}, and set HF_TOKEN to "
        "a token of that account"
    )


def _root(error: BaseException) -> BaseException:
    """What the Hub or the network said, where the library hides it behind a missing file."""
    return error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _cache(kind: str, repo: str) -> Path:
    return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type=kind))


def _cached_commit(kind: str, repo: str, revision: str) -> str:
    try:
        found = HfApi().resolve_revision(repo, repo_type=kind, revision=revision, local_files_only=True).resolved
    except RevisionResolutionError:
        raise _not_cached(kind, repo, revision) from None
    if not (_cache(kind, repo) / "snapshots" / found).is_dir():
        raise _not_cached(kind, repo, revision)
    return found


def _not_cached(kind: str, repo: str, revision: str) -> Unreachable:
    return Unreachable(
        f"HF_HUB_OFFLINE is set, and {kind} {repo!r} at {revision!r} is not, or not all, in the cache "
        f"{constants.HF_HUB_CACHE}; unset it, or fetch it where the Hub can be reached: hf download {repo} --repo-type "
        f"{kind} --revision {revision}"
    )


def check_may_push(repos: Mapping[str, str]) -> None:
    """Refuse repositories, kind -> name with "model" among them, that HF_TOKEN may not write.

    A repository that is not there yet is fine if the token may make it. `ValueError` names it and what to do.
    """
    repo = repos["model"]
    if not os.environ.get("HF_TOKEN"):
        raise ValueError(f"push_hub_repo is {repo!r} but HF_TOKEN is not set; give a token that may write, or empty it")
    try:
        user = retried(lambda: HfApi().whoami(), "look up the owner of HF_TOKEN")
        for kind, name in repos.items():
            if why := _refusal(user, kind, name):
                raise ValueError(f"HF_TOKEN may not push {kind} {name!r}: {why}")
    except OfflineModeIsEnabled:
        raise ValueError(f"push_hub_repo is {repo!r} but HF_HUB_OFFLINE is set; unset or empty one of them") from None
    except (HfHubHTTPError, TransportError) as error:
        if status_of(error) in REFUSED:
            raise ValueError(f"the Hub refuses HF_TOKEN: {error}; make a new token that may write") from None
        raise ValueError(f"the Hub did not answer for {repo!r}: {error}; try again, or empty push_hub_repo") from None


def _refusal(user: dict[str, Any], kind: str, repo: str) -> str:
    """Why a repository cannot be written, and what to do; empty if it can."""
    token, owner = user.get("auth", {}).get("accessToken", {}), repo.partition("/")[0]
    roles = {user["name"]: "admin"} | {org["name"]: org.get("roleInOrg", "write") for org in user.get("orgs", [])}
    if token.get("role") == "read":
        return "it may only read; make a token that may write"
    if roles.get(owner) not in WRITERS:
        names = ", ".join(name for name, role in roles.items() if role in WRITERS)
        return f"{owner!r} is not among the accounts that it may write for ({names}); change push_hub_repo or the token"
    if token.get("role") == "fineGrained" and not _granted(token.get("fineGrained", {}), kind, repo):
        return f"it is fine-grained and lacks write access to contents and settings of {owner!r} or of this repository"
    return _asked(kind, repo)


def _granted(rights: dict[str, Any], kind: str, repo: str) -> bool:
    """Whether a fine-grained token names the repository, or its owner, among what it may write."""
    named = {("user", repo.partition("/")[0]), ("org", repo.partition("/")[0]), (kind, repo)}
    return WRITE in rights.get("global", []) or any(
        (scope["entity"]["type"], scope["entity"].get("name")) in named and WRITE in scope["permissions"]
        for scope in rights.get("scoped", [])
    )


def _asked(kind: str, repo: str) -> str:
    """What the Hub itself says about a repository that is there already."""
    try:
        retried(lambda: HfApi().auth_check(repo, repo_type=kind, write=True), f"ask whether {repo} may be written")
    except RepositoryNotFoundError:
        return ""
    except HfHubHTTPError as error:
        if (status := status_of(error)) in REFUSED:
            return f"the Hub says so (HTTP {status}); give the token write access to it"
        raise
    return ""
