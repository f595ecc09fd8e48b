"""Asking the Hub again when it is busy or cut off: huggingface_hub asks once for most things."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from httpx2 import TransportError
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from components.lib import retry

T = TypeVar("T")

REFUSED = (401, 403)
WRITE = "repo.write"  # the permission of a fine-grained token to make and change repositories
WRITERS = ("admin", "write", "contributor")  # roles in an organization that may do so


def retried(call: Callable[[], T], what: str) -> T:
    """Call with retries; the last error is raised as it is."""
    return retry.retry(call, what, retry.judge_http)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error, None if the Hub did not answer."""
    return retry.status_of(error)[0]


def commit_of(kind: str, repo: str, revision: str) -> str:
    """The commit that a Hub revision points at now; `kind` is "model" or "dataset"."""
    try:
        commit = retried(
            lambda: HfApi().repo_info(repo, repo_type=kind, revision=revision).sha, f"look up {kind} {repo}"
        )
    except RevisionNotFoundError:
        raise ValueError(f"{kind} {repo!r} has no revision {revision!r} on the Hub; use main or a commit") from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"{kind} {repo!r} is not on the Hub, or HF_TOKEN may not read it; check the name and the token"
        ) from None
    except (HfHubHTTPError, TransportError) as error:
        raise ValueError(f"the Hub did not answer for {kind} {repo!r}: {error}") from error
    if not commit:
        raise ValueError(f"the Hub names no commit for {kind} {repo!r} at {revision!r}")
    return commit


def check_may_push(repo: str, *, data: bool) -> None:
    """Refuse a push target that HF_TOKEN may not write; with `data` its data set as well.

    A repository that is not there yet is fine if the token may make it. `ValueError` names it and what to do.
    """
    if not os.environ.get("HF_TOKEN"):
        raise ValueError(f"push_hub_repo is {repo!r} but HF_TOKEN is not set; give a token that may write, or empty it")
    if repo.count("/") != 1:
        raise ValueError(f"push_hub_repo is {repo!r}; write owner/name")
    try:
        user = retried(lambda: HfApi().whoami(), "look up the owner of HF_TOKEN")
        for kind, name in [("model", repo), *([("dataset", f"{repo}-data")] if data else [])]:
            if why := _refusal(user, kind, name):
                raise ValueError(f"HF_TOKEN may not push {kind} {name!r}: {why}")
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
