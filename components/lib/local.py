"""The verb `run`: the whole pipeline on this machine, through kfp.local."""

import contextlib
import os
import re
import secrets
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from components.lib.cluster import images
from components.lib.files import write_json
from components.lib.recipe.files import write
from components.lib.recipe.paths import absolute
from components.lib.recipe.schema import Notify, Recipe
from components.lib.recipe.settings import replace
from components.lib.registry import lock
from components.lib.registry.base import Store
from components.lib.registry.outcome import Failure, Outcome, conclude, write_outcome
from components.lib.registry.record import StepRecord, details_of, read_records
from components.lib.registry.store import open_store
from components.lib.reporting.table import text_table
from components.lib.reporting.tell import link_of, tell

# Two default OpenMP threads on busy cores were measured 10 to 25 times slower than one; the user's value wins.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}

# Variables of the caller that steps in containers get too.
PASSED_ON = (
    "HF_TOKEN", "NOTIFY_WEBHOOK", "WANDB_API_KEY", "TRACKIO_SPACE_ID", "TRACKIO_DIR",
    "S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION",
)  # fmt: skip


def run(recipe: Recipe, *, output: Path, runner: str, build: Callable[[Recipe, str], Any]) -> int:
    """Run the pipeline of `recipe` and write its results under `output`; returns the exit status.

    Writes output/summary.json, output/report.html, output/run.log (everything that KFP printed),
    output/artifacts (KFP's outputs) and, unless the recipe names another registry, output/registry.
    `ValueError` for a recipe that only a cluster can run.
    """
    if recipe.trainer == "trainjob":
        raise ValueError("trainer=trainjob needs a cluster: use the verb submit, or --set trainer=process")
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    own = {name: str(output / name) for name in ("registry", "checkpoints") if not getattr(recipe, name)}
    recipe = absolute(replace(recipe, **own))
    run_id = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    (output / "recipe.yaml").write_text(write(recipe), encoding="utf-8")
    started = time.time()
    print(f"run {run_id}: recipe {recipe.name}, seed {recipe.seed}, everything under {output}", flush=True)
    if runner == "subprocess":  # a container does not see this process
        os.environ[lock.OWNER_VARIABLE] = lock.owner()
    store = open_store(recipe.registry)
    try:
        _execute(build(recipe, run_id), output, runner)
    except KeyboardInterrupt:
        _interrupted(store, run_id, recipe.notify)
        raise
    finally:  # the exit handler does it, unless it was kept from running
        lock.release(store, run_id)
    return _finish(store, run_id, output, time.time() - started)


def _interrupted(store: Store, run_id: str, settings: Notify) -> None:
    """Write and tell the outcome of a run that Ctrl-C has ended, unless its exit handler has."""
    if store.read(f"runs/{run_id}/outcome.json") is not None:
        return
    records = read_records(store, run_id)
    step, log = (records[-1]["step"], records[-1]["log"]) if records else ("preflight", [])
    failure = Failure(step=step, why="was interrupted", log=log)
    outcome = conclude(store, run_id, state="INTERRUPTED", ended=time.time(), failure=failure)
    write_outcome(store, outcome)
    tell(outcome, link_of(store, run_id, settings), settings)


def _execute(pipeline: Any, output: Path, runner: str) -> None:
    from kfp import local

    chosen = local.SubprocessRunner(use_venv=False) if runner == "subprocess" else _docker_runner(output)
    local.init(chosen, pipeline_root=str(output / "artifacts"), raise_on_error=False)
    with warnings.catch_warnings(), (output / "run.log").open("w", encoding="utf-8") as log, _quiet(log):
        warnings.filterwarnings("ignore", module="kfp")  # settings for a cluster have no effect here
        pipeline()


def _docker_runner(output: Path) -> Any:
    """Containers see `output` and nothing else of this machine, and run as the caller, who can then delete it."""
    from docker.types import Mount
    from kfp import local

    print(f"images: {images.data()} and {images.trainer()}")
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return local.DockerRunner(
        mounts=[Mount(str(output), str(output), type="bind")],
        environment={**ENVIRONMENT, **passed},
        user=f"{os.getuid()}:{os.getgid()}",
    )


def _finish(store: Store, run_id: str, output: Path, seconds: float) -> int:
    found = store.read_json(f"runs/{run_id}/outcome.json")
    if found is None:
        print(f"the run left no outcome; what KFP printed is in {output / 'run.log'}", file=sys.stderr)
        return 1
    outcome = Outcome(**found)
    summary = summarise(store, outcome, output, seconds)
    write_json(output / "summary.json", summary)
    _print_end(outcome, summary, output)
    return 1 if outcome.ending == "failed" else 0


def summarise(store: Store, outcome: Outcome, output: Path, seconds: float) -> dict[str, Any]:
    """The content of summary.json, from the records of the run; copies report.html beside it."""
    records = {record["step"]: record for record in read_records(store, outcome.run_id)}
    results: dict[str, Any] = {}
    results_prefix = f"runs/{outcome.run_id}/results"
    if "compare" in records and records["compare"]["outcome"] == "succeeded":
        store.get_tree(results_prefix, output / "results")
        results = store.read_json(f"{results_prefix}/results.json") or {}
        shutil.copy(output / "results" / "report.html", output / "report.html")
    pushed = details_of(records.values(), "push")
    return {
        "run_id": outcome.run_id,
        "ending": outcome.ending,
        "reason": outcome.sentence,
        "failed_step": outcome.failed_step,
        "results": results.get("results", []),
        "confidence": results.get("confidence"),
        "gate": _gate(records.get("gate")),
        "model": pushed.get("location"),
        "seconds": {**outcome.seconds, "total": round(seconds, 1)},
    }


def _gate(record: StepRecord | None) -> dict[str, Any] | None:
    if record is None or record["outcome"] != "succeeded":
        return None
    return {**record["details"], "reason": record["result"], "numbers": record["numbers"]}


def _print_end(outcome: Outcome, summary: dict[str, Any], output: Path) -> None:
    print()
    if summary["results"]:
        print(text_table(summary))
        print()
    if outcome.failed_step:
        print(f"log:     {output / 'run.log'}")
    if summary["gate"]:
        print(f"gate:    {summary['gate']['reason']}")
    if summary["model"]:
        print(f"model:   {summary['model']}")
        print(f'try it:  .venv/bin/python pipeline.py ask --model {summary["model"]} "{_QUESTION}"')
    if (output / "report.html").exists() and summary["results"]:
        print(f"report:  {output / 'report.html'}")
    print(f"{outcome.ending}: {outcome.sentence} ({summary['seconds']['total']:.0f} s) -> {output / 'summary.json'}")


_QUESTION = "Tom has 7 cards. Tom finds 9 more. Tom gives away 8. Tom buys 4 more. How many cards are left?"


_INDENT = "    "


class _Console:
    """Passes on what a step prints, a line when a step starts and ends; all of it goes to the log."""

    _TASK = re.compile(r"Executing task '([^']+)'|Task '([^']+)' finished with status (\w+)")
    _COLOUR = re.compile(r"\x1b\[[0-9;]*m")

    def __init__(self, console: TextIO, log: TextIO) -> None:
        self.console, self.log, self.rest = console, log, ""
        self.step, self.in_json, self.started = "", False, 0.0

    def write(self, text: str) -> int:
        self.log.write(text)
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self._line(self._COLOUR.sub("", line))
        return len(text)

    def flush(self) -> None:
        self.log.flush()
        self.console.flush()

    def isatty(self) -> bool:
        return False

    def _line(self, line: str) -> None:
        if match := self._TASK.search(line):
            self._task(*match.groups())
        elif self.step and line.startswith("    "):
            self._output(line.removeprefix(_INDENT))

    def _task(self, begun: str | None, ended: str | None, status: str | None) -> None:
        if begun:
            self.step, self.started = begun, time.time()
        elif ended:
            word = "done" if status == "SUCCESS" else "FAILED"
            print(f"[{ended}] {word} in {time.time() - self.started:.1f} s", file=self.console, flush=True)
            self.step = ""

    def _output(self, line: str) -> None:
        if line.lstrip().startswith("[KFP Executor"):
            self.in_json = line.endswith("Got executor_input:")
        elif self.in_json:
            self.in_json = line != "}"
        elif line.strip():
            # KFP indents a step's first line once and the others twice.
            print(f"[{self.step}] {line.removeprefix(_INDENT)}", file=self.console, flush=True)


@contextlib.contextmanager
def _quiet(log: TextIO) -> Iterator[None]:
    console = _Console(sys.stdout, log)
    with contextlib.redirect_stdout(console):  # type: ignore[type-var]
        yield
