"""`pipeline.py unlock`: it frees a registry from a run that has ended, and from no living one."""

import pytest

import pipeline
from components.lib.cluster import unlock
from components.lib.registry import lock
from components.lib.registry.outcome import read_outcomes
from components.lib.registry.record import recorded
from components.lib.registry.store import open_store


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A registry that a run on a cluster has locked and written to."""
    monkeypatch.delenv(lock.OWNER_VARIABLE, raising=False)
    store = open_store(str(tmp_path))
    lock.take(store, "run", 3600)
    with recorded(str(tmp_path), "run", "preflight") as record:
        record.details = {"changed": True}
    return store


def called(store, *words):
    return pipeline.main(["unlock", "--registry", store.url("").rstrip("/"), *words])


def in_phase(monkeypatch, phase):
    monkeypatch.setattr(unlock, "phase_of", lambda namespace, run_id: phase)


@pytest.mark.parametrize(
    ("phase", "words", "said"),
    [
        ("Running", ["run"], "run run lives: its workflow is running; terminate it first, or wait for its end"),
        ("Running", ["run", "--force"], "run run lives: its workflow is running"),
        ("", ["run"], "nobody here can tell whether run run has ended; set KUBECONFIG and --namespace"),
        ("Failed", ["other"], "is locked by run run, not by other"),
    ],
)
def test_it_is_refused_while_the_run_may_live(store, monkeypatch, capsys, phase, words, said):
    in_phase(monkeypatch, phase)
    assert called(store, *words) == 2 and said in capsys.readouterr().err
    lock.check(store, "run")


@pytest.mark.parametrize(("phase", "words"), [("Failed", []), ("", ["--force"])])
def test_a_run_that_has_ended_gets_its_outcome_and_loses_the_lock(store, monkeypatch, capsys, phase, words):
    in_phase(monkeypatch, phase)
    assert called(store, "run", *words) == 0
    lock.take(store, "next", 3600)
    assert read_outcomes(store)[0].ending == "failed"
    assert "is free: " in capsys.readouterr().out


def test_a_free_registry_stays_free(store, monkeypatch, capsys):
    lock.release(store, "run")
    assert called(store, "run") == 0 and "is not locked" in capsys.readouterr().out
