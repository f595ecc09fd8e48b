"""Places that a run cannot use are refused before anything is deleted, by name and with the reason."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from minio import Minio

from components.lib.recipe import recipes
from components.lib.recipe.settings import replace, to_json
from components.lib.registry.outcome import write_outcome
from components.lib.registry.store import checked_registry, open_store
from components.preflight import room
from components.preflight.preflight import OUTPUTS, resolve, run_preflight
from components.preflight.room import check_room
from tests import ROOT
from tests.fixtures import refusing_kernel
from tests.fixtures.minio_server import MISSING, MinioServer, find_minio
from tests.fixtures.outcomes import outcome
from tests.fixtures.relay import Relay


@pytest.mark.fault("the S3 server ignores If-None-Match")
@pytest.mark.skipif(find_minio() is None, reason=MISSING)
def test_a_server_on_which_two_runs_could_take_one_lock_is_refused(tmp_path, monkeypatch, seen):
    """MinIO behind a front that makes room for each object that is to be created."""
    with MinioServer(tmp_path / "minio") as server:
        client = server.client()
        client.make_bucket("runs")

        def make_room(data: bytes, client: Minio = client) -> None:
            asked = re.match(rb"PUT /runs/(\S+) ", data)
            if asked and b"if-none-match" in data.lower():
                client.remove_object("runs", asked[1].decode())

        with Relay(server.url, make_room) as front:
            for name, value in (server.environment() | {"S3_ENDPOINT": front.url}).items():
                monkeypatch.setenv(name, value)
            store = open_store("s3://runs/registry")
            assert store.create("lock", 1) and store.create("lock", 2), "two hold one lock"
            with pytest.raises(ValueError, match=rf"{front.url} creates an object .*ignores If-None-Match") as refused:
                checked_registry("s3://runs/registry")
            assert store.keys("probe") == []
        monkeypatch.setenv("S3_ENDPOINT", server.url)
        checked_registry("s3://runs/registry")
    seen(str(refused.value))


def preflight(tmp_path: Path, **changes):
    """What `python -m components.preflight` is given, in a process of its own."""
    sets = {"registry": tmp_path / "registry", "checkpoints": tmp_path / "checkpoints", **changes}
    given = [f"--set={name}={value}" for name, value in sets.items()]
    return [sys.executable, "-m", "components.preflight", *given, "--output", str(tmp_path / "out")]


LACKING = {
    "the registry's file system has no hard links": (
        "link=EPERM", "the file system of .*registry has no hard links .*; put the registry elsewhere"
    ),
    "the checkpoints' file system has no flock": (
        "flock=ENOLCK", "checkpoints '.*' cannot be locked .*; put them on a file system with flock"
    ),
}  # fmt: skip


@pytest.mark.fault("a file system lacks what a registry needs")
@pytest.mark.skipif(not refusing_kernel.NUMBERS, reason="needs x86-64 or arm64: no system call is refused")
@pytest.mark.parametrize("fault", LACKING)
def test_a_file_system_that_lacks_something_is_named(tmp_path, seen, fault):
    refused, expected = LACKING[fault]
    command = [sys.executable, refusing_kernel.__file__, refused, *preflight(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and re.search(expected, done.stderr), done.stderr
    seen(done.stderr, fault=fault)


@pytest.fixture
def full(tmp_path):
    """A volume of its own with 1 MiB."""
    place = tmp_path / "full"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if mount.returncode:
        pytest.skip("may not mount a small file system: a full volume is not tested")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.fault("a volume is full before the run begins")
@pytest.mark.parametrize("name", ["registry", "checkpoints", "artifacts", "HF_HOME"])
def test_the_volume_that_is_full_is_named_by_what_lies_there(tmp_path, monkeypatch, full, seen, name):
    """Not the working directory, which has room."""
    places = {place: tmp_path / place for place in ("registry", "checkpoints", "artifacts", "HF_HOME")}
    places[name] = full / "below" / name
    recipe = replace(
        recipes.TINY, registry=str(places["registry"]), checkpoints=str(places["checkpoints"]), model="lab/model"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(places["HF_HOME"]))
    plan = replace(resolve(replace(recipe, model="tiny")), model="lab/model", revision="c" * 40)
    with pytest.raises(ValueError, match=rf"only 0\.0 GiB free for {name} \({full}\); 2 GiB are needed") as refused:
        check_room(recipe, plan, places["artifacts"])
    seen(str(refused.value), fault=f"the volume of {name} is full before the run begins")


def test_what_another_pod_mounts_and_buckets_are_not_looked_at_and_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(room.inside.POD_VARIABLE, "preflight-1")
    recipe = replace(recipes.TINY, registry="s3://runs/registry", checkpoints="/no-such-claim/here")
    room.check_locks(Path(recipe.checkpoints))
    check_room(recipe, resolve(recipe), tmp_path)
    printed = capsys.readouterr().out
    assert "checkpoints /no-such-claim/here is not mounted here" in printed and "a bucket's room" in printed


@pytest.mark.fault("a recipe is wrong, and old runs wait to be deleted")
@pytest.mark.parametrize(
    ("changes", "said"), [({"model": "./nowhere"}, "neither a directory"), ({"push_hub_repo": "me/model"}, "HF_TOKEN")]
)
def test_nothing_is_deleted_for_a_run_that_cannot_begin(tmp_path, monkeypatch, changes, said, seen):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    store = open_store(str(tmp_path / "registry"))
    for number in (1, 2):
        write_outcome(store, outcome(f"week-0{number}", started=f"2026-01-0{number}T00:00:00+00:00"))
        store.write_json(f"runs/week-0{number}/record/sft.json", {"started": ""})
    values = {name: recipes.value(recipes.TINY, name) for name in recipes.PARAMETERS}
    recipe = to_json(replace(recipes.TINY, keep=replace(recipes.TINY.keep, runs=1)))
    given = {
        "run_id": "next", "recipe": recipe, "artifact": "", "outputs": {n: tmp_path / "outputs" / n for n in OUTPUTS},
        "parameters": values | {"registry": str(tmp_path / "registry")} | changes,
    }  # fmt: skip
    with pytest.raises(ValueError, match=said) as refused:
        run_preflight(**given)
    assert len(store.keys("runs/week-01/record")) == 1
    run_preflight(**given | {"parameters": values | {"registry": str(tmp_path / "registry")}})
    assert store.keys("runs/week-01/record") == [], "a run that can begin deletes it"
    seen(str(refused.value))
