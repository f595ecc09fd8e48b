"""A registry that commit 2680ec0 wrote, of `make demo`, is still read: its history, its champion and its lock."""

import shutil

import pytest

from components.lib.registry import lock
from components.lib.registry.champion import read_champion
from components.lib.registry.outcome import read_all
from components.lib.registry.plan import Plan
from components.lib.registry.record import read_records
from components.lib.registry.store import open_store
from components.lib.reporting.history import read_history, text_table
from tests import ROOT

RUN = "20261128-122139-86e0"


@pytest.fixture
def store(tmp_path):
    shutil.copytree(ROOT / "tests" / "fixtures" / "registry_2680ec0", tmp_path / "registry")
    return open_store(str(tmp_path / "registry"))


def test_its_history_is_shown(store):
    told = text_table(read_history(store))
    assert "389/400" in told and "97.2 %" in told and "95.1 - 98.5" in told and "4,195" in told
    assert f"Champion number 1: vff226433dbfe of run {RUN}, since 2026-11-28 12:27 UTC" in told


def test_its_outcome_records_and_plan_are_read(store):
    outcomes, unread = read_all(store)
    assert [outcome.run_id for outcome in outcomes] == [RUN] and not unread
    assert outcomes[0].version == read_champion(store)["version"] == "vff226433dbfe"
    records = {record["step"]: record for record in read_records(store, RUN)}
    assert records["gate"]["details"]["promoted"] is True
    assert Plan.read(records["preflight"]["details"]["plan"]).evaluation[0].path == "tiny:evaluation"


def test_its_lock_is_known(store):
    held = lock.current(store)
    assert held.value["run_id"] == RUN and held.value["released"]
    assert lock.take(store, "next", 3600) == "" and lock.current(store).number == 2
    assert read_champion(store)["version"] == "vff226433dbfe" and store.keys("champion.json") == []


def test_its_held_lock_stops_a_run(store):
    held = lock.current(store)
    store.write_json(held.key, held.value | {"released": None})
    store.delete(f"runs/{RUN}/outcome.json")
    with pytest.raises(ValueError, match=f"is in use by run {RUN}"):
        lock.take(store, "next", 10**9)
