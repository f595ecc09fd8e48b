"""Upload a release to a Hub repository so that `main` is never half new, however often it is interrupted.

The whole tree goes in one commit to a branch of its own, the Hub's checksums of that branch are compared with
the files here, and only then does `main` get the same files in one commit (their bytes are on the Hub by then)
and a tag. `upload_folder` is not used: it splits an upload into several commits.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

T = TypeVar("T")

TRANSIENT = (408, 429, 500, 502, 503, 504)
ATTEMPTS = 6
FIRST_WAIT_S = 1.0  # doubled after each attempt, unless the Hub says how long to wait
LONGEST_WAIT_S = 300.0
KEPT = (".gitattributes",)  # made by the Hub itself


def push_to_hub(tree: Path, *, repo: str, private: bool, version: str, run_id: str) -> str:
    """Make `main` of a Hub model repository hold exactly the files of `tree`, tagged `version`; returns the URL.

    The token is HF_TOKEN's, the server HF_ENDPOINT's. A version that is tagged already is not pushed again.
    Transient failures are retried. `ValueError` if the Hub refuses, holds other bytes than it was sent, or if
    `main` was changed by someone else meanwhile; `main` is then what it was before.
    """
    api = HfApi()
    retry(lambda: api.create_repo(repo, private=private, exist_ok=True), f"create {repo}")
    url = f"{api.endpoint}/{repo}/tree/{version}"
    refs = retry(lambda: api.list_repo_refs(repo), f"list the branches of {repo}")
    head = next(ref.target_commit for ref in refs.branches if ref.name == "main")
    if any(tag.name == version for tag in refs.tags):
        print(f"{repo} has {version} already", flush=True)
        return url
    branch = f"push-{version}"
    if any(ref.name == branch for ref in refs.branches):  # left by a push that was interrupted
        delete_branch(api, repo, branch)
    message = f"Release {version} of run {run_id}"
    retry(lambda: api.create_branch(repo, branch=branch, revision=head, exist_ok=True), f"create branch {branch}")
    commit(api, repo, tree, revision=branch, parent=None, message=message)
    verify(api, repo, tree, revision=branch)
    released = commit(api, repo, tree, revision="main", parent=head, message=message)
    verify(api, repo, tree, revision=released)
    retry(lambda: api.create_tag(repo, tag=version, revision=released, exist_ok=True), f"tag {version}")
    delete_branch(api, repo, branch)
    print(f"{repo} has {version}: {url}", flush=True)
    return url


def commit(api: HfApi, repo: str, tree: Path, *, revision: str, parent: str | None, message: str) -> str:
    """Make a branch hold exactly the files of `tree` in one commit; returns the branch's commit.

    With `parent`, a branch that has moved on is a `ValueError`.
    """

    def attempt() -> str:
        # Made anew for each attempt: if the answer to a commit was lost, there is nothing left to do.
        files = sorted(path for path in tree.rglob("*") if path.is_file())
        names = {path.relative_to(tree).as_posix(): path for path in files}
        held = set(api.list_repo_files(repo, revision=revision))
        stale = sorted(held - set(names) - set(KEPT))
        operations = [CommitOperationAdd(name, path) for name, path in names.items()]
        return api.create_commit(
            repo,
            [*operations, *(CommitOperationDelete(name) for name in stale)],
            commit_message=message,
            revision=revision,
            parent_commit=parent,
        ).oid

    try:
        return retry(attempt, f"commit to {revision} of {repo}")
    except HfHubHTTPError as error:
        if _status(error)[0] == 412:
            raise ValueError(f"{revision} of {repo} was changed during the push; look who else writes there") from error
        raise


def verify(api: HfApi, repo: str, tree: Path, *, revision: str) -> None:
    """Compare the Hub's checksums at `revision` with the files of `tree`; `ValueError` names what differs."""
    found = retry(lambda: api.verify_repo_checksums(repo, revision=revision, local_dir=tree), f"verify {repo}")
    differing = {mismatch["path"] for mismatch in found.mismatches}
    wrong = (differing | set(found.missing_paths) | set(found.extra_paths)) - set(KEPT)
    if wrong:
        raise ValueError(f"{repo} at {revision} does not hold what was pushed: {', '.join(sorted(wrong))}; push again")


def delete_branch(api: HfApi, repo: str, branch: str) -> None:
    """Delete a branch; one that is gone already is as good."""

    def attempt() -> None:
        try:
            api.delete_branch(repo, branch=branch)
        except HfHubHTTPError as error:
            if _status(error)[0] != 404:
                raise

    retry(attempt, f"delete branch {branch}")


def retry(call: Callable[[], T], what: str) -> T:
    """Call until it works, a failure is not transient, or ATTEMPTS are used up, waiting longer each time."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except Exception as error:
            status, asked = _status(error)
            if attempt == ATTEMPTS or not (status in TRANSIENT or _cut(error)):
                raise
            wait_s = min(FIRST_WAIT_S * 2 ** (attempt - 1) if asked is None else asked, LONGEST_WAIT_S)
            reason = f"HTTP {status}" if status else repr(error)
            print(f"{what}: {reason}; try {attempt + 1} of {ATTEMPTS} in {wait_s:.0f} s", flush=True)
            time.sleep(wait_s)
    raise AssertionError("the last attempt returns or raises")


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and what caused it: huggingface_hub wraps a failed upload in a RuntimeError."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__
    return chain


def _status(error: BaseException) -> tuple[int | None, float | None]:
    """The HTTP status of an error and the seconds that its Retry-After asks for."""
    for part in _chain(error):
        if isinstance(part, HfHubHTTPError) and part.response is not None:
            after = part.response.headers.get("Retry-After", "")
            return part.response.status_code, float(after) if after.isdigit() else None
    return None, None


def _cut(error: BaseException) -> bool:
    return any(isinstance(part, httpx2.TransportError) for part in _chain(error))
