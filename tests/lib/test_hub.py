"""Preflight finds out what a token may not push, before anything else is done."""

from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from components.lib import retry
from components.lib.hub import check_may_push, commit_of
from components.lib.recipe import recipes
from components.lib.recipe.settings import to_json
from components.preflight.preflight import check_run
from tests.fixtures.hub_server import Fault, HubServer

WRITE = ["repo.content.read", "repo.write"]
READ = ["repo.content.read", "repo.access.read"]
REPO = "tester/reasoner"


def repos(name: str = REPO) -> dict[str, str]:
    return {"model": name, "dataset": f"{name}-data"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        yield server


def scope(kind: str, name: str, permissions: list[str]) -> dict[str, object]:
    return {"entity": {"_id": "0", "type": kind, "name": name}, "permissions": permissions}


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    "role",
    [
        "write",
        [scope("user", "tester", WRITE)],
        [scope("model", REPO, WRITE), scope("dataset", f"{REPO}-data", WRITE)],
    ],
)
def test_a_token_that_may_write_passes_and_makes_nothing(hub: HubServer, role: object, there: bool) -> None:
    hub.tokens["hf_write"] = role  # type: ignore[assignment]
    if there:
        hub.add_repo("model", REPO, {"README.md": b"x"}, private=True)
    check_may_push(repos())
    assert set(hub.repos) == ({("model", REPO)} if there else set())


@pytest.mark.parametrize(
    ("role", "repo", "said"),
    [
        ("read", REPO, "may not push model 'tester/reasoner': it may only read; make a token that may write"),
        ([scope("user", "tester", READ)], REPO, "it is fine-grained and lacks write access"),
        ([scope("model", "tester/other", WRITE)], REPO, "it is fine-grained and lacks write access"),
        ([scope("model", REPO, WRITE)], REPO, "may not push dataset 'tester/reasoner-data': it is fine-grained"),
        ("write", "someone/reasoner", r"'someone' is not among the accounts that it may write for \(tester, lab\)"),
        ("write", "readers/reasoner", "'readers' is not among the accounts"),
    ],
)
def test_a_token_that_may_not_is_named_with_its_mend(hub: HubServer, role: object, repo: str, said: str) -> None:
    hub.tokens["hf_write"] = role  # type: ignore[assignment]
    hub.orgs = [{"name": "lab", "roleInOrg": "write"}, {"name": "readers", "roleInOrg": "read"}]
    with pytest.raises(ValueError, match=said):
        check_may_push(repos(repo))


def test_an_organization_that_may_be_written_is_fine(hub: HubServer) -> None:
    hub.orgs = [{"name": "lab", "roleInOrg": "contributor"}]
    check_may_push(repos("lab/reasoner"))


def test_the_hubs_own_no_counts_for_a_repository_that_is_there(hub: HubServer) -> None:
    """Rights that the token lists, and a repository that refuses it nevertheless, as resource groups may."""
    hub.add_repo("model", REPO, {"README.md": b"x"})
    hub.faults.append(Fault("GET .*/auth-check/write", status=403))
    with pytest.raises(ValueError, match=r"the Hub says so \(HTTP 403\); give the token write access"):
        check_may_push(repos())


def test_an_unknown_token_and_a_silent_hub_are_named(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    with pytest.raises(ValueError, match="the Hub refuses HF_TOKEN: .*make a new token that may write"):
        check_may_push(repos())
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="the Hub did not answer for 'tester/reasoner'"):
        check_may_push(repos())


def test_a_busy_hub_is_asked_again(hub: HubServer) -> None:
    for kind in ("model", "dataset"):
        hub.add_repo(kind, REPO, {"README.md": b"x"})
    hub.faults += [
        Fault("GET /api/datasets/", status=429, headers={"Retry-After": "0"}), Fault("GET /api/models/.*main", "cut"),
        Fault("GET /api/whoami-v2", status=429), Fault("GET .*/auth-check/write", status=503),
    ]  # fmt: skip
    for kind in ("model", "dataset"):
        assert commit_of(kind, REPO, "main") == hub.repos[kind, REPO].branches["main"]
    check_may_push({"model": REPO})
    assert [fault.times for fault in hub.faults] == [0] * 4, "every fault has happened"


def test_a_hub_that_stays_busy_is_not_the_tokens_fault(hub: HubServer) -> None:
    hub.faults += [Fault("GET /api/whoami-v2", status=503, times=6), Fault("GET /api/datasets/", status=429, times=6)]
    with pytest.raises(ValueError, match=r"(?s)the Hub did not answer for 'tester/reasoner': .*503.*; try again"):
        check_may_push(repos())
    with pytest.raises(ValueError, match="(?s)the Hub did not answer for dataset 'tester/reasoner': .*429"):
        commit_of("dataset", REPO, "main")


def test_a_run_without_sft_or_data_needs_no_right_to_a_data_set(hub: HubServer, tmp_path) -> None:
    hub.tokens["hf_write"] = [scope("model", REPO, WRITE)]
    shared = {"push_hub_repo": REPO, "registry": str(tmp_path)}
    for changes in ({"push_data": "false"}, {"stages": "grpo"}):
        check_run(to_json(recipes.override(recipes.TINY, {**shared, **changes})), {})
    with pytest.raises(ValueError, match="may not push dataset"):
        check_run(to_json(recipes.override(recipes.TINY, shared)), {})
