"""What the verb `run` lets through of KFP's own printing."""

import io
import os

import pytest

import pipeline
from components.lib.cluster.step_pod import S3_SECRET_KEYS, SECRET_KEYS
from components.lib.local import PASSED_ON, _Console, run
from components.lib.recipe import recipes
from components.lib.registry import lock
from components.lib.registry.outcome import read_outcomes
from components.lib.registry.record import recorded
from components.lib.registry.store import open_store
from tests.fixtures.raw_server import DONE, raw_server


def test_only_what_the_steps_print_reaches_the_console():
    out, log = io.StringIO(), io.StringIO()
    printed = (
        "12:00 - INFO - Executing task \x1b[96m'sft'\x1b[0m\n12:00 - INFO - Streamed logs:\n\n"
        '    [KFP Executor INFO]: Got executor_input:\n    {\n        "inputs": {\n        }\n    }\n'
        "    first\n        second\n    [KFP Executor INFO]: Wrote executor output file\n"
        "12:01 - INFO - Task 'sft' finished with status \x1b[91mFAILURE\x1b[0m\n12:01 - INFO - Task 'sft' outputs:\n"
    )
    _Console(out, log).write(printed)
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["[sft] first", "[sft] second"] and lines[2].startswith("[sft] FAILED in ") and len(lines) == 3
    assert log.getvalue() == printed


def test_a_trainjob_is_for_clusters(tmp_path, capsys):
    assert pipeline.main(["run", "--set", "trainer=trainjob", "--output", str(tmp_path / "out")]) == 2
    assert "trainer=trainjob needs a cluster" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_containers_get_every_secret_that_pods_get_and_where_trackio_writes():
    assert {*SECRET_KEYS, *S3_SECRET_KEYS.values(), "TRACKIO_DIR"} <= set(PASSED_ON)


def test_an_interrupted_run_leaves_an_outcome_tells_it_and_lets_go(tmp_path, monkeypatch):
    registry = str(tmp_path / "registry")
    monkeypatch.setattr(os, "environ", os.environ.copy())  # `run` sets some for its steps

    def build(recipe, run_id):
        def pipeline():
            lock.take(open_store(registry), run_id, 3600)
            with recorded(registry, run_id, "grpo"):
                print("step 7/60")
                raise KeyboardInterrupt

        return pipeline

    with raw_server(DONE) as (url, received), pytest.raises(KeyboardInterrupt):
        os.environ["NOTIFY_WEBHOOK"] = url
        run(recipes.TINY, output=tmp_path, runner="subprocess", build=build)
    (found,) = read_outcomes(open_store(registry))
    assert (found.ending, found.failed_step, found.sentence) == ("failed", "grpo", "grpo was interrupted")
    assert "step 7/60" in found.log and len(received) == 1
    assert lock.current(open_store(registry)).value["released"]
