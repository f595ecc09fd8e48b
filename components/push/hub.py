"""Upload a release to a Hub repository so that `main` is never half new, however often it is interrupted.

The whole tree goes in one commit to a branch of its own, the Hub's checksums of that branch are compared with
the files here, and only then does `main` get the same files in one commit (their bytes are on the Hub by then)
and a tag. `upload_folder` is not used: it splits an upload into several commits.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import disable_progress_bars

from components.lib.hub import REFUSED, retried, status_of

T = TypeVar("T")

KEPT = {".gitattributes"}  # made by the Hub itself
_PUSHING = "push-"  # how the branch of a push is called, whose version follows


def push_to_hub(tree: Path, *, repo: str, kind: str, private: bool, version: str, run_id: str) -> str:
    """Make `main` of a Hub repository hold exactly the files of `tree`, tagged `version`; returns the URL.

    `kind` is "model" or "dataset". The token is HF_TOKEN's, the server HF_ENDPOINT's. A version that is tagged and
    that `main` has is not pushed again; a former one becomes `main` anew, and its tag stays. Transient failures are
    retried. `ValueError` if the Hub refuses, holds other bytes than it was sent, or if `main` was changed by someone
    else meanwhile; `main` is then what it was before.
    """
    if not sys.stderr.isatty():
        disable_progress_bars()  # in a log each of their steps would be a line
    hub = HubRepository(HfApi(), repo, kind)
    hub.create(private)
    url = f"{hub.api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}/tree/{version}"
    branches, tags = hub.refs()
    if version in tags and (branches["main"] == tags[version] or not hub.differing(tree, "main")):
        print(f"{repo} has {version} already", flush=True)
        return url
    branch, message = f"{_PUSHING}{version}", f"Release {version} of run {run_id}"
    for left in (name for name in branches if name.startswith(_PUSHING)):  # by a push that was interrupted
        hub.delete_branch(left)
    hub.create_branch(branch, branches["main"])
    hub.commit(tree, revision=branch, parent=None, message=message)
    hub.verify(tree, branch)
    released = hub.commit(tree, revision="main", parent=branches["main"], message=message)
    hub.verify(tree, released)
    hub.tag(version, released)
    hub.delete_branch(branch)
    print(f"{repo} has {version}: {url}", flush=True)
    return url


@dataclass
class HubRepository:
    """A repository of the Hub with the few operations that a push needs, each with retries."""

    api: HfApi
    repo: str
    kind: str

    def create(self, private: bool) -> None:
        """Create the repository unless it is there."""
        _retry(
            lambda: self.api.create_repo(self.repo, repo_type=self.kind, private=private, exist_ok=True),
            f"create {self.repo}",
        )

    def refs(self) -> tuple[dict[str, str], dict[str, str]]:
        """Branches and tags, each name -> commit."""
        found = _retry(lambda: self.api.list_repo_refs(self.repo, repo_type=self.kind), f"list branches of {self.repo}")
        return {b.name: b.target_commit for b in found.branches}, {t.name: t.target_commit for t in found.tags}

    def create_branch(self, branch: str, commit: str) -> None:
        """Create a branch at a commit."""
        _retry(
            lambda: self.api.create_branch(
                self.repo, branch=branch, revision=commit, repo_type=self.kind, exist_ok=True
            ),
            f"create branch {branch}",
        )

    def commit(self, tree: Path, *, revision: str, parent: str | None, message: str) -> str:
        """Make a branch hold exactly the files of `tree` in one commit; returns the branch's commit.

        With `parent`, a branch that has moved on is a `ValueError`.
        """
        paths = sorted(path for path in tree.rglob("*") if path.is_file())
        names = {path.relative_to(tree).as_posix(): path for path in paths}

        def attempt() -> str:
            # Asked and made anew each time: if the answer to a commit was lost, there is nothing left to do.
            held = set(self.api.list_repo_files(self.repo, revision=revision, repo_type=self.kind))
            added = [CommitOperationAdd(name, path) for name, path in names.items()]
            dropped = [CommitOperationDelete(name) for name in sorted(held - set(names) - KEPT)]
            return self.api.create_commit(
                self.repo, [*added, *dropped], commit_message=message, repo_type=self.kind, revision=revision,
                parent_commit=parent,
            ).oid  # fmt: skip

        try:
            return _retry(attempt, f"commit to {revision} of {self.repo}")
        except HfHubHTTPError as error:
            if status_of(error) == 412:
                raise ValueError(
                    f"{revision} of {self.repo} was changed during the push; look who else writes there"
                ) from error
            raise

    def verify(self, tree: Path, revision: str) -> None:
        """Compare the Hub's checksums at `revision` with the files of `tree`; `ValueError` names what differs."""
        if wrong := self.differing(tree, revision):
            names = ", ".join(sorted(wrong))
            raise ValueError(f"{self.repo} at {revision} does not hold what was pushed: {names}; push again")

    def differing(self, tree: Path, revision: str) -> set[str]:
        """The files of which `revision` and `tree` do not hold the same bytes."""
        found = _retry(
            lambda: self.api.verify_repo_checksums(self.repo, repo_type=self.kind, revision=revision, local_dir=tree),
            f"verify {self.repo}",
        )
        differing = {mismatch["path"] for mismatch in found.mismatches}
        return (differing | set(found.missing_paths) | set(found.extra_paths)) - KEPT

    def tag(self, name: str, commit: str) -> None:
        """Tag a commit; a tag that is there already is as good."""
        _retry(
            lambda: self.api.create_tag(self.repo, tag=name, revision=commit, repo_type=self.kind, exist_ok=True),
            f"tag {name}",
        )

    def delete_branch(self, branch: str) -> None:
        """Delete a branch; one that is gone already is as good."""

        def attempt() -> None:
            try:
                self.api.delete_branch(self.repo, branch=branch, repo_type=self.kind)
            except HfHubHTTPError as error:
                if status_of(error) != 404:
                    raise

        _retry(attempt, f"delete branch {branch}")


def _retry(call: Callable[[], T], what: str) -> T:
    """Call with retries; a token that is refused is a `ValueError`."""
    try:
        return retried(call, what)
    except HfHubHTTPError as error:
        status = status_of(error)
        if status in REFUSED:
            raise ValueError(f"{what}: the Hub refuses HF_TOKEN (HTTP {status}); give one that may write") from error
        raise
