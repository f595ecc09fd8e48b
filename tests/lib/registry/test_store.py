"""The directory store: whole writes, locks, trees that resume and verify, keys that stay inside."""

import json
import os
import threading
from pathlib import Path

import pytest

from components.lib.registry.base import Store
from components.lib.registry.directory import DirectoryStore
from components.lib.registry.store import open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "registry"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / ".eval_results").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    (directory / ".eval_results" / "gsm8k.yaml").write_text("- value: 1\n")
    return directory


def test_in_a_pod_a_registry_that_is_no_volume_of_it_is_refused(tmp_path, monkeypatch):
    """As `registry=bucket/prefix` of a run that stock tools started: its writes would be refused one step later."""
    monkeypatch.chdir("/")
    monkeypatch.setenv("KFP_POD_NAME", "some-pod")
    with pytest.raises(ValueError, match="registry 'bucket/prefix' lies on no volume of this Pod; write s3://BUCKET/"):
        open_store("bucket/prefix")
    assert open_store(str(tmp_path / "new" / "registry")).keys("") == []


def test_json_values_round_trip_and_missing_ones_are_none(store: Store) -> None:
    assert store.read_json("runs/r1/results.json") is None
    store.write_json("runs/r1/results.json", {"accuracy": 0.5, "text": "ä"})
    store.write_json("runs/r1/results.json", {"accuracy": 0.6, "text": "ä"})
    assert store.read_json("runs/r1/results.json") == {"accuracy": 0.6, "text": "ä"}
    assert (
        store.keys("")
        == store.keys("runs")
        == store.keys("runs/r1/")
        == store.keys("runs/r1/results.json")
        == ["runs/r1/results.json"]
    )
    assert store.keys("runs/r") == [], "a prefix ends at a slash"


def test_a_broken_record_is_named(store: Store) -> None:
    store.write("champion.json", b'{"version": ')
    with pytest.raises(ValueError, match=r"champion\.json is not JSON"):
        store.read_json("champion.json")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a\\b", "a\0b", ".partial/x"]
)
def test_keys_cannot_leave_the_store(store: Store, tree: Path, key: str) -> None:
    for call in (
        store.read,
        store.delete,
        store.delete_tree,
        lambda k: store.write(k, b""),
        lambda k: store.create(k, 1),
    ):
        with pytest.raises(ValueError, match="bad registry key"):
            call(key)
    with pytest.raises(ValueError, match="bad registry key"):
        store.put_tree(key, tree)


def test_a_manifest_cannot_lead_out_of_the_target(store: Store, tmp_path: Path) -> None:
    store.write_json("models/v1/manifest.json", {"files": {"../../x": {"sha256": "0", "size": 1}}})
    with pytest.raises(ValueError, match="bad registry key"):
        store.get_tree("models/v1", tmp_path / "out")


def test_only_one_of_many_threads_creates_a_key(store: Store) -> None:
    won: list[int] = []
    start = threading.Barrier(8)

    def take(number: int) -> None:
        start.wait()
        if store.create("locks/run.json", {"owner": number}):
            won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read_json("locks/run.json") == {"owner": won[0]}
    store.delete_tree("locks/run.json")
    assert store.create("locks/run.json", {"owner": 9})


def test_writers_and_deleters_of_one_directory_do_not_disturb_each_other(store: Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(50):
                store.write_json(f"probe/{number}.json", number)
                assert store.create(f"probe/lock-{number}.json", number)
                store.delete_tree(f"probe/lock-{number}.json")
                store.delete_tree(f"probe/{number}.json")
        except (OSError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and store.keys("") == []


def test_a_tree_comes_back_as_it_was(store: Store, tree: Path, tmp_path: Path) -> None:
    assert store.put_tree("models/v1", tree) == 3
    assert store.put_tree("models/v1", tree) == 0, "putting it again changes nothing"
    assert store.get_tree("models/v1", tmp_path / "out") == 3
    assert store.get_tree("models/v1", tmp_path / "out") == 0
    for name in ("config.json", "model.safetensors", ".eval_results/gsm8k.yaml"):
        assert (tmp_path / "out" / name).read_bytes() == (tree / name).read_bytes()
    assert store.delete_tree("models/v1") == 4
    assert store.keys("") == []


def test_putting_a_changed_tree_replaces_it(store: Store, tree: Path, tmp_path: Path) -> None:
    store.put_tree("models/v1", tree)
    (tree / "config.json").write_text('{"new": 1}')
    (tree / "model.safetensors").rename(tree / "other.safetensors")
    assert store.put_tree("models/v1", tree) == 2
    store.get_tree("models/v1", tmp_path / "out")
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert names == {"config.json", "other.safetensors", ".eval_results/gsm8k.yaml"}


def test_an_interrupted_put_is_unreadable_and_resumes(tmp_path: Path, tree: Path) -> None:
    class Dying(DirectoryStore):
        left = 2

        def put_file(self, key: str, path: Path, digest: str) -> bool:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            return super().put_file(key, path, digest)

    with pytest.raises(KeyboardInterrupt):
        Dying(tmp_path / "registry").put_tree("models/v1", tree)
    store = DirectoryStore(tmp_path / "registry")
    with pytest.raises(ValueError, match="holds no finished tree"):
        store.get_tree("models/v1", tmp_path / "out")
    assert store.put_tree("models/v1", tree) == 1, "two of the three files were there"
    assert store.get_tree("models/v1", tmp_path / "out") == 3


def test_a_damaged_file_is_found_and_mended(store: Store, tree: Path, tmp_path: Path) -> None:
    store.put_tree("models/v1", tree)
    stored = Path(store.url("models/v1/model.safetensors"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"model\.safetensors has SHA-256 .* damaged"):
        store.get_tree("models/v1", tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_failed_write_leaves_the_old_value_and_no_litter(store: Store, tmp_path: Path) -> None:
    store.write_json("champion.json", {"version": "old"})
    with pytest.raises(TypeError):
        store.write_json("champion.json", {"version": object()})
    with pytest.raises(IsADirectoryError):
        store.put_file("champion.json", tmp_path, "0")
    assert store.read_json("champion.json") == {"version": "old"}
    assert os.listdir(tmp_path / "registry" / ".partial") == []


def test_trees_that_cannot_be_stored_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a directory"):
        store.put_tree("models/v1", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is empty"):
        store.put_tree("models/v1", tmp_path / "empty")
    (tmp_path / "empty" / "manifest.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match=r"holds manifest\.json"):
        store.put_tree("models/v1", tmp_path / "empty")


@pytest.mark.parametrize("uri", ["", "http://host/x", "gs://bucket/x"])
def test_unknown_addresses_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="neither a directory nor"):
        open_store(uri)
