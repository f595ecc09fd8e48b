"""Push to the Hub against a local server that speaks its protocol, with everything that may go wrong."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, constants
from huggingface_hub.errors import HfHubHTTPError

from components.lib import retry
from components.lib.files import read_json, write_jsonl
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import from_json
from components.lib.registry import lock
from components.lib.registry.champion import read_champion
from components.lib.registry.store import open_store
from components.push import push as pushing
from components.push.dataset import push_dataset
from components.push.push import push
from tests.fixtures.hub_server import Fault, HubServer
from tests.fixtures.releases import HUB_REPO, make_run

# huggingface_hub 2.4 hands LFS uploads to httpx2 by an argument that httpx2 calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

PUSH = """
import sys
from pathlib import Path
from components.push.push import push
from components.lib.recipe.recipes import QWEN
from tests.fixtures.releases import HUB_REPO, make_run

directory = Path(sys.argv[1])
run = make_run(directory / "run-0", registry=str(directory / "registry"), hub_repo=HUB_REPO, seed=0)
print(push(**run)["version"])
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server, and this process pointed at it as HF_ENDPOINT and its like point a fresh one."""
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        yield server


def pushed(directory: Path, seed: int = 0) -> str:
    """Push a run and return its version."""
    run = make_run(directory / f"run-{seed}", registry=str(directory / "registry"), hub_repo=HUB_REPO, seed=seed)
    return push(**run)["version"]


def assert_released(hub: HubServer, directory: Path, version: str) -> None:
    """`main` and the tag are the registry's tree, and no branch is left over."""
    repo = hub.repos["model", HUB_REPO]
    manifest = read_json(directory / "registry" / "models" / version / "manifest.json")
    for revision in ("main", version):
        commit = repo.resolve(revision)
        assert commit is not None
        held = {path: file.sha256 for path, file in commit.files.items() if path != ".gitattributes"}
        assert held == {path: entry["sha256"] for path, entry in manifest["files"].items()}
    assert list(repo.branches) == ["main"]


def test_a_push_is_one_commit_tagged_and_private_and_doing_it_again_changes_nothing(
    hub: HubServer, tmp_path: Path
) -> None:
    version = pushed(tmp_path)
    repo = hub.repos["model", HUB_REPO]
    assert repo.private
    assert_released(hub, tmp_path, version)
    head = repo.resolve("main")
    assert head is not None and head.parent is not None and repo.commits[head.parent].message == "initial commit"
    before = dict(repo.commits)
    assert pushed(tmp_path) == version
    assert repo.commits == before
    champion = read_champion(open_store(str(tmp_path / "registry")))
    assert champion["url"] == f"{hub.url}/{HUB_REPO}/tree/{version}"
    second = pushed(tmp_path, seed=1)
    assert second != version
    assert_released(hub, tmp_path, second)
    assert repo.resolve(version) == head, "the first release keeps its tag"
    assert pushed(tmp_path) == version
    assert_released(hub, tmp_path, version)
    assert repo.resolve(version) == head and repo.resolve("main") != head, "promoted again, it is main again"
    before = dict(repo.commits)
    assert pushed(tmp_path) == version and repo.commits == before


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("POST /api/repos/create", status=429, headers={"Retry-After": "0"}), Fault("GET .*/refs", status=502)],
        [Fault("POST .*/preupload", "cut"), Fault("POST .*/branch/", status=503), Fault("PUT /_lfs", status=500)],
        [
            Fault("POST .*/commit/push-", status=504),
            Fault("POST .*/commit/main", "lost"),
            Fault("POST .*/tag/", "lost"),
        ],
        [Fault("PUT /_lfs", "cut"), Fault("POST .*/commit/main", "cut"), Fault("DELETE .*/branch/", "lost")],
    ],
    ids=["busy", "upload", "commit", "cut"],
)
def test_transient_faults_are_retried(hub: HubServer, tmp_path: Path, faults: list[Fault]) -> None:
    hub.faults.extend(faults)
    assert_released(hub, tmp_path, pushed(tmp_path))
    assert [fault.times for fault in faults] == [0] * len(faults), "every fault has happened"


def test_an_interrupted_push_leaves_main_alone_and_resumes(hub: HubServer, tmp_path: Path) -> None:
    old = pushed(tmp_path)
    hub.faults.append(Fault("POST .*/commit/main", status=500, times=6))
    with pytest.raises(HfHubHTTPError, match="500"):
        pushed(tmp_path, seed=1)
    repo = hub.repos["model", HUB_REPO]
    assert repo.branches["main"] == repo.tags[old], "main is still the old release"
    assert read_champion(open_store(str(tmp_path / "registry")))["version"] == old
    hub.log.clear()
    assert_released(hub, tmp_path, pushed(tmp_path, seed=1))
    assert not [line for line in hub.log if line.startswith("PUT")], "the weights are not sent again"


def test_what_an_interrupted_push_left_goes_with_the_next_one_of_whatever_version(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.faults.append(Fault("POST .*/commit/main", status=500, times=6))
    with pytest.raises(HfHubHTTPError, match="500"):
        pushed(tmp_path)
    assert len(hub.repos["model", HUB_REPO].branches) == 2
    assert_released(hub, tmp_path, pushed(tmp_path, seed=1))


def test_a_wrong_checksum_never_reaches_main(hub: HubServer, tmp_path: Path) -> None:
    old = pushed(tmp_path)
    hub.faults.append(Fault("PUT /_lfs", "corrupt"))
    with pytest.raises(ValueError, match=rf"{HUB_REPO} at push-v.* does not hold what was pushed: model-0000"):
        pushed(tmp_path, seed=1)
    repo = hub.repos["model", HUB_REPO]
    assert repo.branches["main"] == repo.tags[old]
    assert_released(hub, tmp_path, pushed(tmp_path, seed=1))


def test_someone_elses_commit_is_not_overwritten(hub: HubServer, tmp_path: Path) -> None:
    pushed(tmp_path)
    hub.faults.append(Fault("POST .*/commit/main", status=412))
    with pytest.raises(ValueError, match="main of tester/reasoner was changed during the push"):
        pushed(tmp_path, seed=1)


@pytest.mark.parametrize("token", ["hf_read", "hf_unknown"])
def test_a_token_that_may_not_write_is_named(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ValueError, match=r"create tester/reasoner: the Hub refuses HF_TOKEN \(HTTP 40\d\); give one"):
        pushed(tmp_path)
    assert not read_champion(open_store(str(tmp_path / "registry")))


def test_files_larger_than_a_part_are_uploaded_in_parts(hub: HubServer, tmp_path: Path) -> None:
    hub.part_size = 5000
    assert_released(hub, tmp_path, pushed(tmp_path))
    assert any(line.endswith("/4") for line in hub.log if line.startswith("PUT"))


def test_the_sft_data_set_is_pushed_with_a_card_of_its_own(hub: HubServer, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", registry=str(tmp_path / "registry"), hub_repo=HUB_REPO)
    source = run["plan"].sources[0]
    origin = {"source": source.name, "licence": "unknown", "revision": source.revision}
    write_jsonl(tmp_path / "data" / "sft.jsonl", [{"id": f"{n}", "messages": [], **origin} for n in range(3)])
    champion = push(**run | {"data": tmp_path / "data"})
    chosen = {name: run[name] for name in ("plan", "registry", "run_id")}
    found = push_dataset(data=tmp_path / "data", recipe=from_json(Recipe, run["recipe"]), **chosen)
    assert found["version"] == champion["data"], "pushed with the model, and again it is the same"
    repo = hub.repos["dataset", f"{HUB_REPO}-data"]
    files = repo.files(found["version"])
    assert repo.private and repo.resolve("main") == repo.resolve(found["version"])
    assert set(files) == {".gitattributes", "README.md", "provenance.json", "sft.jsonl"}
    card: Any = DatasetCard(files["README.md"].decode())
    assert card.data.license == "unknown" and card.data.source_datasets == [source.path]
    assert f"| {source.name} | `{source.path}` | `{source.revision}` | unknown | 3 |" in re.sub(" +", " ", card.text)
    about = json.loads(files["provenance.json"])
    assert about["sources"][0] == {**origin_of_card(source), "rows": 3} and about["run_id"] == "run-0"
    assert about["files"] == {n: hashlib.sha256(files[n]).hexdigest() for n in ("README.md", "sft.jsonl")}
    model = hub.repos["model", HUB_REPO].files()
    assert f"The SFT conversations as they were used: {found['url']}" in model["README.md"].decode()
    assert json.loads(model["provenance.json"])["data"] == found["version"]
    assert found["url"] == f"{hub.url}/datasets/{HUB_REPO}-data/tree/{found['version']}"


def origin_of_card(source: Any) -> dict[str, str]:
    return {"name": source.name, "path": source.path, "revision": source.revision, "licence": "unknown"}


def test_a_run_that_has_lost_the_lock_meanwhile_does_not_reach_the_hub(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", registry=str(tmp_path / "registry"), hub_repo=HUB_REPO) | {"by_hand": False}
    store, into = open_store(run["registry"]), pushing._into_registry

    def slow(*arguments: Any) -> Path:
        lock.release(store, "run-0")
        return into(*arguments)

    lock.take(store, "run-0", 3600)
    monkeypatch.setattr(pushing, "_into_registry", slow)
    with pytest.raises(ValueError, match="run run-0 has let go of the registry's lock"):
        push(**run)
    assert not hub.repos


def test_a_fresh_process_pushes_too(tmp_path: Path) -> None:
    with HubServer() as hub:
        command = [sys.executable, "-c", PUSH, str(tmp_path)]
        environment = os.environ | hub.environment(tmp_path / "hf")
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stdout + result.stderr
        assert_released(hub, tmp_path, result.stdout.split()[-1])
