"""What a run deletes before it begins, and what it never does."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from components.lib.recipe import recipes
from components.lib.recipe.schema import Keep
from components.lib.registry.base import PARTIAL
from components.lib.registry.outcome import read_outcomes, write_outcome
from components.lib.registry.store import open_store
from components.preflight.clean import clean
from tests.fixtures.minio_server import MISSING, MinioServer, find_minio
from tests.fixtures.outcomes import FIRST, outcome

KEEP = Keep(runs=2, models=1, checkpoint_days=14.0)
DAY = 86_400
NOW = FIRST.timestamp() + 100 * DAY


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "registry"))


def make_run(store, number, artifacts="", **changes):
    """A run of the week `number` with a record, a report and artifacts."""
    name = f"week-{number:02}"
    ended = (FIRST + timedelta(weeks=number)).isoformat()
    write_outcome(store, outcome(name, ended=ended, artifacts=str(artifacts), **changes))
    store.write_json(f"runs/{name}/record/sft.json", {"step": "sft", "outcome": "succeeded", "started": ended})
    store.write_json(f"runs/{name}/results/results.json", {})
    return name


def make_artifacts(root: Path) -> Path:
    (root / "sft" / "model").mkdir(parents=True)
    (root / "sft" / "model" / "model.safetensors").write_bytes(b"x" * 1000)
    return root


def champion(store, run_id, version, former=(), data=""):
    entry = {"version": version, "run_id": run_id, "data": data}
    store.write_json("champion.json", {**entry, "former": list(former)})


def test_old_runs_keep_their_outcome_and_nothing_else(store, tmp_path):
    places = [make_artifacts(tmp_path / f"grpo-pipeline-2026-{n}") for n in range(5)]
    for number in range(5):
        make_run(store, number, places[number], ending="no-change" if number == 4 else "rejected")
    before = read_outcomes(store)
    assert clean(store, KEEP, "", NOW) == [f"records and artifacts of run week-0{n}" for n in (0, 1)]
    assert [place.exists() for place in places] == [False, False, True, True, True], "no-change is counted by itself"
    left = {key.split("/")[1] for key in store.keys("runs") if not key.endswith("outcome.json")}
    assert left == {"week-02", "week-03", "week-04"}
    after = read_outcomes(store)
    assert [run.cleaned for run in after] == [True, True, False, False, False]
    assert [run.sentence for run in after] == [run.sentence for run in before], "the history stays true"
    assert clean(store, KEEP, "", NOW) == [], "there is nothing left to do"


def test_runs_without_news_are_cleaned_beside_a_single_champion(store):
    """Of the first model that was promoted, and a quarter of checks after it."""
    for number in range(14):
        make_run(store, number, ending="no-change" if number else "promoted")
    champion(store, "week-00", "v0")
    assert clean(store, KEEP, "", NOW) == [f"records and artifacts of run week-{n:02}" for n in range(1, 12)]
    left = {key.split("/")[1] for key in store.keys("runs") if not key.endswith("outcome.json")}
    assert left == {"week-00", "week-12", "week-13"}


def test_the_champions_run_and_what_it_may_have_from_the_cache_stay(store, tmp_path):
    places = [make_artifacts(tmp_path / f"grpo-pipeline-2026-{n}") for n in range(6)]
    for number in range(6):
        ending = "no-change" if number == 3 else "failed"
        make_run(store, number, places[number], inputs="other" if number == 1 else "same", ending=ending)
    champion(store, "week-02", "v2")
    assert clean(store, KEEP, "", NOW) == ["records and artifacts of run week-01"]
    assert places[0].exists() and places[2].exists() and store.keys("runs/week-02/results")


def test_artifacts_elsewhere_stay_and_the_records_go(store, capsys):
    places = ("gs://bucket/grpo", "minio://bucket/grpo/week-01")
    for number, place in enumerate((*places, "", "")):
        make_run(store, number, place)
    assert clean(store, KEEP, "", NOW) == [f"records and artifacts of run week-0{n}" for n in (0, 1)]
    printed = capsys.readouterr().out
    assert all(f"nothing here can delete {place.replace('minio', 's3')}" in printed for place in places)


def test_artifacts_that_cannot_be_deleted_are_tried_again_and_the_records_go(store, tmp_path, capsys, monkeypatch):
    place = make_artifacts(tmp_path / "grpo-pipeline-2026")
    for number in range(3):
        make_run(store, number, "" if number else place)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", _refuse)
        assert clean(store, KEEP, "", NOW) == ["records of run week-00"]
    assert "the artifacts of run week-00 cannot be deleted: no permission" in capsys.readouterr().out
    assert not store.keys("runs/week-00/record") and place.exists()
    assert clean(store, KEEP, "", NOW) == ["records and artifacts of run week-00"] and not place.exists()


def _refuse(*_, **__):
    raise PermissionError("no permission")


@pytest.mark.skipif(find_minio() is None, reason=MISSING)
def test_artifacts_in_the_registrys_bucket_are_deleted_others_stay(store, tmp_path, monkeypatch):
    with MinioServer(tmp_path / "minio") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.client().make_bucket("mlpipeline")
        server.client().make_bucket("other")
        store = open_store("s3://mlpipeline/registry")
        elsewhere = open_store("s3://other/registry")
        root = open_store("s3://mlpipeline/v2/artifacts/grpo-pipeline")
        for number in range(4):
            # The first one failed in preflight, which has a log there and cannot tell where.
            place = f"minio://mlpipeline/v2/artifacts/grpo-pipeline/week-0{number}" if number else ""
            make_run(store, number, place)
            make_run(elsewhere, number, place)
            root.write(f"week-0{number}/sft/u/model/model.safetensors", b"x")
        root.write("week-00-not-this/sft/u/model", b"x")
        assert len(clean(elsewhere, KEEP, "", NOW)) == 2 and len(root.keys("")) == 5
        assert clean(store, KEEP, "", NOW) == [f"records and artifacts of run week-0{n}" for n in (0, 1)]
        assert {key.split("/")[0] for key in root.keys("")} == {"week-00-not-this", "week-02", "week-03"}


def test_models_of_the_last_champions_stay_half_pushed_ones_go(store):
    for version in ("v1", "v2", "v3"):
        store.write_json(f"models/{version}/manifest.json", {})
        store.write_json(f"models/{version}/config.json", {})
        store.write_json(f"datasets/d{version[1:]}/manifest.json", {})
    store.write_json("models/v4/config.json", {})  # its push was killed
    former = [{"version": "v1", "data": "d1"}, {"version": "v2", "data": "d2"}]
    champion(store, "week-03", "v3", former, "d3")
    assert clean(store, KEEP, "", NOW) == ["models/v1", "models/v4", "datasets/d1"]
    assert {key.split("/")[1] for key in store.keys("models")} == {"v2", "v3"}
    assert clean(store, Keep(runs=2, models=0, checkpoint_days=1.0), "", NOW) == ["models/v2", "datasets/d2"]
    assert len(store.keys("models/v3")) == 2


def test_without_a_champion_no_model_is_touched(store):
    store.write_json("models/v1/manifest.json", {})
    assert clean(store, KEEP, "", NOW) == [] and store.keys("models") == ["models/v1/manifest.json"]


def test_what_a_killed_write_left_goes_a_day_later(store, tmp_path):
    parts = tmp_path / "registry" / PARTIAL
    parts.mkdir(parents=True)
    for name, age in (("old", 2 * DAY), ("young", 60)):
        (parts / name).write_bytes(b"x")
        os.utime(parts / name, (time.time() - age,) * 2)
    assert clean(store, KEEP, "", NOW) == ["1 unfinished files"] and [p.name for p in parts.iterdir()] == ["young"]


def place(root, name, days, **files):
    """A checkpoint directory whose newest file is `days` old; `files` are others with their ages."""
    for path, age in {"step-00000010/model.safetensors": days, "lock": days, **files}.items():
        file = root / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
        os.utime(file, (NOW - age * DAY,) * 2)
    return root / name


def test_checkpoints_go_by_the_age_of_their_newest_file(store, tmp_path):
    root = tmp_path / "checkpoints"
    old, young = place(root, "sft-0123456789abcdef", 15), place(root, "grpo-0123456789abcdef", 13)
    resumed = place(root, "grpo-aaaa", 30, **{"curves/curves.jsonl": 2})
    other = place(root, "somebodys-files", 500)
    assert clean(store, KEEP, str(root), NOW) == ["checkpoints sft-0123456789abcdef"]
    assert not old.exists() and young.exists() and resumed.exists() and other.exists()


def test_checkpoints_of_a_training_that_runs_stay(store, tmp_path):
    """The lock is held by another process, as a training holds it."""
    held = place(tmp_path, "grpo-aaaa", 30)
    code = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", code, str(held / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as training:
        training.stdout.readline()
        assert clean(store, KEEP, str(tmp_path), NOW) == [] and held.exists()
        training.stdin.close()
    assert clean(store, KEEP, str(tmp_path), NOW) == ["checkpoints grpo-aaaa"]


def test_checkpoints_of_the_champions_training_stay(store, tmp_path):
    """It ran in week 1, 92 to 93 days ago, and a later run of the same key has touched its lock since."""
    make_run(store, 1)
    champion(store, "week-01", "v1")
    days = (NOW - (FIRST + timedelta(weeks=1)).timestamp()) / DAY
    its = place(tmp_path, "grpo-aaaa", days + 0.01, lock=50)
    others = place(tmp_path, "grpo-bbbb", days - 1)
    assert clean(store, KEEP, str(tmp_path), NOW) == ["checkpoints grpo-bbbb"]
    assert its.exists() and not others.exists()


def test_every_recipe_keeps_something():
    for recipe in recipes.RECIPES.values():
        assert recipe.keep.runs >= 4 and recipe.keep.models >= 1 and recipe.keep.checkpoint_days > 7


def test_the_lock_of_a_checkpoint_is_free_again_after_cleaning(tmp_path, store):
    kept = place(tmp_path, "grpo-aaaa", 1)
    clean(store, KEEP, str(tmp_path), NOW)
    with (kept / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
