"""A run on this machine is killed in each of its steps: the step and its trainer are gone at once.

The run is the real one but for its pipeline, which has one step. That step is held by what it really waits for.
"""

import contextlib
import os
import signal
import time

import pytest

from components.lib.registry.outcome import read_outcomes
from components.lib.registry.record import read_records
from components.lib.registry.store import open_store
from tests import ROOT
from tests.fixtures.one_step import REMOTE, start
from tests.fixtures.processes import Pipe, Silent, left_running, until
from tests.fixtures.raw_server import DONE

STEPS = sorted(path.parent.name for path in (ROOT / "components").glob("*/component.py"))
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
SOON_S = 10
# The file for which a step waits, below the name of the artifact that is its input, or of the base model.
FILES = {
    "evaluate": "model/model.safetensors", "compare": "data/summary.json", "gate": "candidate/items.jsonl",
    "push": "decision",
}  # fmt: skip


class Held:
    """A run whose step waits: for a server that does not answer, for a pipe that nobody fills, or for its trainer."""

    def __init__(self, step, number, folder):
        self.step, self.output, inputs = step, folder / number.name / "out", folder
        environment, changes, self.waits = {}, {}, None
        self.output.parent.mkdir(exist_ok=True)
        if step in ("preflight", "sample", "standardize"):
            self.waits = Silent()
            environment = {"S3_ENDPOINT": self.waits.address, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
            changes = {"sources": (REMOTE,)}
        elif step == "notify":
            self.waits = Silent()
            environment = {"NOTIFY_WEBHOOK": self.waits.address}
        elif step in FILES:
            inputs = self.output.parent
            self.waits = Pipe(inputs / FILES[step])
            changes = {"model": str(inputs / "model")} if step == "evaluate" else {}
        self.process = start(step, self.output, inputs, environment, **changes)

    def waiting(self):
        """Whether the step has come to where it waits; the trainer of a training has begun."""
        assert self.process.is_alive(), self.text()
        return self.waits.asked() if self.waits else any("training.begin" in line for line in left_running(self.output))

    def told(self):
        """What the registry says of the step, or, of the exit handler, what that has said of the run."""
        store = open_store(str(self.output / "registry"))
        if self.step == "notify":
            [outcome] = read_outcomes(store)
            return f"the run is closed: {outcome.sentence}"
        [record] = read_records(store, store.keys("runs")[0].split("/")[1])
        assert (record["outcome"], record["error"]) == ("failed", "was ended by SIGTERM"), record
        return f"{record['step']} {record['error']}"

    def text(self):
        return self.output.with_suffix(".txt").read_text()

    def close(self):
        self.process.kill(), self.process.join(SOON_S), self.process.close()
        if self.waits:
            self.waits.close()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.fault("pipeline.py run is killed in each step")
def test_a_step_ends_with_its_run(step, tmp_path, request, seen):
    if step in ("sft", "grpo"):
        (tmp_path / "data").symlink_to(request.getfixturevalue("data"))
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(contextlib.closing(Held(step, number, tmp_path))) for number in SIGNALS]
        for number, run in zip(SIGNALS, runs, strict=True):
            until(run.waiting, run.text)
            assert left_running(run.output)  # so that an empty list below says something
            killed = time.monotonic()
            os.kill(run.process.pid, number)
            if step == "notify":  # the exit handler alone outlives the run, and tells its end
                run.waits.answer(DONE)
            until(lambda output=run.output: not left_running(output), run.text, SOON_S)
            gone = f"its processes are gone after {time.monotonic() - killed:.1f} s"
            run.process.join(SOON_S)
            assert run.process.exitcode == (128 + number if number == signal.SIGTERM else -number)
            seen(f"{run.told()}; {gone}", fault=f"{number.name} of pipeline.py run in {step}")
