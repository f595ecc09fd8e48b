"""Evaluation and sampling that are killed inside the pipeline go on in the next run, through KFP's local runner."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from components.lib.files import read_jsonl
from components.lib.recipe.recipes import TINY
from components.lib.recipe.selection import chosen
from components.lib.registry.plan import Plan
from components.lib.registry.record import read_records
from components.lib.registry.store import open_store
from tests import ROOT

pytest.importorskip("torch", reason="needs torch: nothing is evaluated")
pytestmark = pytest.mark.slow
WAIT_S = 300
CHANGES = {
    "evaluate": {
        "evaluate_problems": 12, "evaluate_gate_problems": 8, "evaluate_batch_size": 2, "evaluate_max_new_tokens": 48,
        "evaluate_protocols": "zero-shot", "stages": "sft",
    },
    "sample": {
        "sample_problems": 5, "sample_per_problem": 4, "sample_batch_size": 2, "sample_max_new_tokens": 48,
        "stages": "sft",
    },
}  # fmt: skip
WRITTEN = {"evaluate": "items.jsonl", "sample": "samples.jsonl"}


def start(output, step):
    command = [sys.executable, "pipeline.py", "run", "--recipe", "tiny", "--output", str(output)]
    command += [f"--set={name}={value}" for name, value in CHANGES[step].items()]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for(process, found):
    """Wait until `found` returns something, which it gives back."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if result := found():
            return result
        time.sleep(0.02)
    raise AssertionError(process.communicate(timeout=WAIT_S)[0])


def partials(output, step):
    return set(output.glob(f"checkpoints/{step}-*/partial.jsonl"))


def kept_in(output, step):
    """How many completions lie below the checkpoints."""
    return sum(path.read_bytes().count(b"\n") for path in partials(output, step))


def done(output, step, interrupted):
    """The one file that the step has written, once the partial results of the killed one are gone."""
    written = list(output.glob(f"artifacts/*/{step}/*/{WRITTEN[step]}"))
    return written if not interrupted & partials(output, step) else []


def undisturbed(output, step, out):
    """What the step writes in one go, with the plan and the data of the run in `output`."""
    recipe, store = TINY, open_store(str(output / "registry"))
    [made] = {
        record["details"]["plan"]
        for key in store.keys("runs") if key.endswith("/record/preflight.json")
        for record in read_records(store, key.split("/")[1]) if record["step"] == "preflight"
    }  # fmt: skip
    plan = Plan.read(made)
    settings = getattr(chosen("tiny", [f"{name}={value}" for name, value in CHANGES[step].items()]), step)
    if step == "sample":
        from components.sample.sample import sample

        sample(plan=plan, split=recipe.standardize, settings=settings, out=out, checkpoints=None)
    else:
        from components.evaluate.evaluate import evaluate

        evaluate(
            model="tiny", revision="", checkpoint="base", data=max(output.glob("artifacts/*/standardize/data")),
            out=out, checkpoints=None, seed=plan.seed, settings=settings,
        )  # fmt: skip
    return list(read_jsonl(out / WRITTEN[step]))


@pytest.mark.parametrize("step", ["evaluate", "sample"])
@pytest.mark.fault("an evaluation or a sampling is killed inside the pipeline")
def test_what_was_killed_goes_on_in_the_next_run(tmp_path, seen, step):
    output = tmp_path / "out"
    first = start(output, step)
    wait_for(first, lambda: kept_in(output, step) >= 4)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    kept, interrupted = kept_in(output, step), partials(output, step)
    second = start(output, step)
    [written] = wait_for(second, lambda: done(output, step, interrupted))
    os.killpg(second.pid, signal.SIGKILL)
    printed = second.communicate()[0]
    told = re.search(rf"{step}[^:\]]*: (\d+) of \d+ completions were there already", printed)
    assert told and int(told[1]) == kept
    assert list(read_jsonl(written)) == undisturbed(output, step, tmp_path / "whole")
    seen(told[0], fault=f"pipeline.py run and its step {step} are killed with SIGKILL")
