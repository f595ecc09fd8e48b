"""What the verb `run` lets through of KFP's own printing."""

import contextlib

import pytest
from kfp import dsl

import pipeline
from components.compare.live import live_page
from components.lib.cluster.step_pod import S3_SECRET_KEYS, SECRET_KEYS
from components.lib.live import Progress
from components.lib.local import PASSED_ON, _environment, _execute, run
from components.lib.machine import CHOSEN_VARIABLE
from components.lib.recipe import recipes
from components.lib.registry import lock
from components.lib.registry.outcome import read_outcomes
from components.lib.registry.record import recorded
from components.lib.registry.store import open_store
from tests.fixtures.raw_server import DONE, raw_server


def test_only_what_the_steps_print_reaches_the_console(tmp_path, capsys):
    """Of two real steps, one of which fails, that KFP runs."""

    @dsl.component(base_image="python:3.11-slim", install_kfp_package=False)
    def good():
        print("first\n    second, indented")

    @dsl.component(base_image="python:3.11-slim", install_kfp_package=False)
    def bad():
        raise ValueError("on purpose")

    @dsl.pipeline
    def both():
        bad().after(good())

    with contextlib.chdir(tmp_path):
        _execute(both, tmp_path, "subprocess", {}, Progress("r", "tiny", tmp_path), tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["[good] first", "[good]     second, indented"] and lines[2].startswith("[good] done in ")
    assert "[bad] ValueError: on purpose" in lines and lines[-1].startswith("[bad] FAILED in ")
    assert all(line.startswith(("[good] ", "[bad] ")) for line in lines)
    log = (tmp_path / "run.log").read_text()
    assert log.count("Executing task") == 2 and "Got executor_input:" in log and "finished with status" in log


def test_a_trainjob_is_for_clusters(tmp_path, capsys):
    assert pipeline.main(["run", "--set", "trainer=trainjob", "--output", str(tmp_path / "out")]) == 2
    assert "trainer=trainjob needs a cluster" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_containers_get_every_secret_that_pods_get_and_where_trackio_writes():
    assert {*SECRET_KEYS, *S3_SECRET_KEYS.values(), "TRACKIO_DIR"} <= set(PASSED_ON)


def test_a_run_whose_exit_handler_was_kept_from_running_is_closed_and_told(tmp_path, monkeypatch):
    """As after a second Ctrl-C."""
    registry = str(tmp_path / "registry")

    def build(recipe, run_id):
        def pipeline():
            lock.take(open_store(registry), run_id, 3600)
            with recorded(registry, run_id, "grpo"):
                print("step 7/60")
                raise KeyboardInterrupt

        return pipeline

    with raw_server(DONE) as (url, received), pytest.raises(KeyboardInterrupt):
        monkeypatch.setenv("NOTIFY_WEBHOOK", url)
        run(recipes.TINY, output=tmp_path, runner="subprocess", build=build, page=live_page)
    (found,) = read_outcomes(open_store(registry))
    assert (found.ending, found.failed_step, found.sentence) == ("failed", "grpo", "grpo failed: KeyboardInterrupt")
    assert "step 7/60" in found.log and len(received) == 1
    assert lock.current(open_store(registry)).value["released"]
    assert not {".reserve"} & {path.name for path in tmp_path.iterdir()}


def test_the_threads_are_chosen_and_the_users_value_wins(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("components.lib.local.machine.threads", lambda weights: 1 if weights else 5)
    chosen = _environment(recipes.TINY, "subprocess", tmp_path, "/tmp")
    assert (chosen["OMP_NUM_THREADS"], chosen[CHOSEN_VARIABLE]) == ("1", "1")
    assert _environment(recipes.QWEN, "docker", tmp_path, "/tmp")["OMP_NUM_THREADS"] == "5"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    kept = _environment(recipes.TINY, "subprocess", tmp_path, "/tmp")
    assert kept["OMP_NUM_THREADS"] == "3" and CHOSEN_VARIABLE not in kept
