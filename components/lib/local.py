"""The verb `run`: the whole pipeline on this machine, through kfp.local."""

import contextlib
import json
import os
import re
import secrets
import signal
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from components.lib import ending, machine, streams
from components.lib.cluster import images
from components.lib.files import PACKAGE, write_json, write_text
from components.lib.generation.convert import reachable
from components.lib.live import Live, Progress
from components.lib.model.files import weights_bytes
from components.lib.place import SHARED_VARIABLE
from components.lib.recipe import checkers
from components.lib.recipe.files import write
from components.lib.recipe.paths import absolute
from components.lib.recipe.schema import Notify, Recipe
from components.lib.recipe.settings import replace
from components.lib.registry import lock
from components.lib.registry.base import Store
from components.lib.registry.outcome import KILLED, Failure, Outcome, conclude_killed, failure_of
from components.lib.registry.record import FAILED, LOG_LINES, StepRecord, details_of, read_records
from components.lib.registry.store import checked_registry, open_store
from components.lib.reporting.table import text_table
from components.lib.reporting.tell import link_of, tell

# Of the steps; the user's value wins.
ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    **streams.VARIABLES,
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}

# Variables of the caller that steps in containers get too.
PASSED_ON = (
    "HF_TOKEN", "NOTIFY_WEBHOOK", "MODEL_REGISTRY_TOKEN", "WANDB_API_KEY", "TRACKIO_SPACE_ID", "TRACKIO_DIR",
    "S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_REGION", "AWS_DEFAULT_REGION",
)  # fmt: skip
CERTIFICATES = ("AWS_CA_BUNDLE", "SSL_CERT_FILE")  # those that name a file, which is mounted at the same place
RUN_LOCK, STEPS_LOCK = ".run.lock", ".steps.lock"  # in the output: of the run, and what its steps wait for
REPORT = "report.html"  # in the output, and of the run's results
SHARED = "shared"  # in a study's folder
RESERVE, RESERVE_BYTES = ".reserve", 1 << 20  # in the output, deleted before the end is written: the volume may be full


def run(
    recipe: Recipe, *, output: Path, runner: str, build: Callable[[Recipe, str], Any],
    page: Callable[[Progress], str], study: Path | None = None,
) -> int:  # fmt: skip
    """Run the pipeline of `recipe` and write its results under `output`; returns the exit status.

    Writes output/summary.json, output/report.html (while it runs, or if it fails, what `page` makes of its progress; at
    the end the report), output/run.log (everything that KFP printed), output/artifacts (KFP's outputs) and, unless the
    recipe names another registry, output/registry. One run at a time has an output: `ValueError` for a second one,
    before it touches anything, and for a recipe that only a cluster can run. What a run that was killed has left open
    is closed first. Signals end the running step, which saves its work; the exit handler then tells the end as that of
    any other run. `study` is the folder, around the output, of the study that the run belongs to; its runs share what
    does not differ (`place.once`).
    """
    if recipe.trainer == "trainjob":
        raise ValueError("trainer=trainjob needs a cluster: use the verb submit, or --set trainer=process")
    if runner == "subprocess":  # a container would not see the directory
        recipe = replace(recipe, model=reachable(recipe.model, recipe.revision))
    output = Path(os.path.realpath(output))  # `resolve` raises a RuntimeError where links go round
    output.mkdir(parents=True, exist_ok=True)
    own = {name: str(output / name) for name in ("registry", "checkpoints") if not getattr(recipe, name)}
    recipe = absolute(replace(recipe, **own))
    run_id = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    console = streams.Steady(sys.stdout)
    with (
        contextlib.redirect_stdout(console), _holding(output, run_id, recipe) as steps, _temporary() as temporary  # type: ignore[type-var]
    ):  # fmt: skip
        store, started = checked_registry(recipe.registry), time.monotonic()
        environment = _environment(recipe, runner, output, temporary)
        environment |= {SHARED_VARIABLE: str(study / SHARED)} if study else {}
        write_text(output / "recipe.yaml", write(checkers.unfolded(recipe, output)))
        print(f"run {run_id}: recipe {recipe.name}, seed {recipe.seed}, everything under {output}", flush=True)
        print(f"threads of each step: {environment['OMP_NUM_THREADS']}", flush=True)
        live = Live(output / REPORT, Progress(run_id, recipe.name, output / "artifacts"), page)
        live.write()
        print(f"watch it learn: {live.path.as_uri()}", flush=True)
        signals: list[int] = []
        said: list[str] = []
        try:
            with (
                _variables(environment), ending.handling(lambda number: _told_to_end(number, signals, steps)),
                live.following(),
            ):  # fmt: skip
                said += _execute(build(recipe, run_id), output, runner, environment, live.progress, study or output)
        finally:
            status = _finish(store, run_id, recipe.notify, output, started, said, live)
        return 128 + signals[0] if signals else status


@contextlib.contextmanager
def _holding(output: Path, run_id: str, recipe: Recipe) -> Iterator[TextIO]:
    """Hold the output for this run; yields the file for whose lock its steps wait."""
    with ending.locked(output / RUN_LOCK, 0) or _in_use(output) as file:
        if left := _about(output):
            print(f"run {left['run_id']} of {output} was killed; its steps are ended first", flush=True)
        with ending.locked(output / STEPS_LOCK, ending.SAVING_S) or _in_use(output) as steps:
            if left:
                store = open_store(left["registry"])
                _outcome(store, left["run_id"], recipe.notify, [])
                lock.release(store, left["run_id"])
            about = {"run_id": run_id, "process": os.getpid(), "registry": recipe.registry}
            _note(file, json.dumps(about | {"since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}))
            (output / RESERVE).write_bytes(b"\0" * RESERVE_BYTES)
            try:
                yield steps
            finally:
                _note(file, "")


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="grpo-run-", ignore_cleanup_errors=True)


def _in_use(output: Path) -> TextIO:
    about = _about(output) or {}
    raise ValueError(
        f"--output {output} is in use by run {about.get('run_id', '?')} (process {about.get('process', '?')}, since "
        f"{about.get('since', '?')}) or by a step of it; wait until it has ended, end it, or give another --output"
    )


def _about(output: Path) -> dict[str, Any] | None:
    """What the run that holds an output, or was killed while it did, has said of itself; None if there is none."""
    text = (output / RUN_LOCK).read_text(encoding="utf-8")
    return json.loads(text) if text.endswith("}") else None


def _note(file: TextIO, text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()


def _environment(recipe: Recipe, runner: str, output: Path, temporary: str) -> dict[str, str]:
    """The variables of the steps."""
    chosen = {"OMP_NUM_THREADS": str(machine.threads(weights_bytes(recipe.model)))}
    found = {name: os.environ.get(name, value) for name, value in (ENVIRONMENT | chosen).items()}
    if "OMP_NUM_THREADS" not in os.environ:
        found[machine.CHOSEN_VARIABLE] = chosen["OMP_NUM_THREADS"]
    found[ending.STEPS_VARIABLE] = str(output / STEPS_LOCK)
    if runner == "subprocess":  # a container does not see this process, nor this machine's files
        paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        found |= {lock.OWNER_VARIABLE: lock.owner(), "TMPDIR": temporary}
        # This code, and not a folder `components` of the working directory.
        found |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    return found


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _told_to_end(number: int, signals: list[int], steps: TextIO) -> None:
    """On the first signal have the running step end, and wait for it; on the second one end at once."""
    signals.append(number)
    steps.close()
    if len(signals) > 1:
        raise KeyboardInterrupt
    name = signal.Signals(number).name
    print(f"{name}: the running step saves its work and ends; a second signal does not wait for it", flush=True)


def _execute(
    pipeline: Any, output: Path, runner: str, environment: Mapping[str, str], progress: Progress, mounted: Path
) -> list[str]:
    """Run the pipeline; returns the last lines of the first step that failed, none if none did.

    Containers see the folder `mounted`.
    """
    from kfp import local

    steps: Any = local.SubprocessRunner(use_venv=False)
    if runner == "docker":
        steps = _docker_runner(mounted, environment)
    local.init(steps, pipeline_root=str(output / "artifacts"), raise_on_error=False)
    with warnings.catch_warnings(), _quiet(output / "run.log", progress) as console:
        warnings.filterwarnings("ignore", module="kfp")  # settings for a cluster have no effect here
        pipeline()
    return console.failed


def _docker_runner(mounted: Path, environment: Mapping[str, str]) -> Any:
    """Containers see `mounted` and certificates, nothing else of this machine, and run as the caller, who owns it."""
    from docker.types import Mount
    from kfp import local

    print(f"images: {images.data()} and {images.trainer()}")
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    trusted = {name: str(Path(os.environ[name]).resolve()) for name in CERTIFICATES if os.environ.get(name)}
    certificates = [Mount(place, place, type="bind", read_only=True) for place in sorted(set(trusted.values()))]
    return local.DockerRunner(
        mounts=[Mount(str(mounted), str(mounted), type="bind"), *certificates],
        environment={**environment, **passed, **trusted},
        user=f"{os.getuid()}:{os.getgid()}",
    )


def _finish(
    store: Store, run_id: str, settings: Notify, output: Path, started: float, said: list[str], live: Live
) -> int:
    """Close the run, write its summary and print its end; returns the exit status."""
    (output / RESERVE).unlink(missing_ok=True)
    try:
        outcome = _outcome(store, run_id, settings, said)
        lock.release(store, run_id)  # the exit handler does it, unless it was kept from running
        summary = summarise(store, outcome, output, time.monotonic() - started)
    except (ValueError, OSError) as error:
        write_json(output / "summary.json", {"run_id": run_id, "ending": "failed", "reason": str(error)})
        live.end("failed", str(error), [], output / "results" / REPORT, made=False)
        raise
    write_json(output / "summary.json", summary)
    made, report = bool(summary["results"]), output / "results" / REPORT
    live.end(outcome.ending, outcome.sentence, outcome.log, report, made, outcome.warnings)
    _print_end(outcome, summary, output)
    return 1 if outcome.ending == "failed" else 0


def _outcome(store: Store, run_id: str, settings: Notify, said: list[str]) -> Outcome:
    """The outcome of a run; written and told here if its exit handler was kept from it, written if it knows too little.

    `said` is what the failed step printed at its end, which counts where it could not write its record.
    """
    found, records = store.read_json(f"runs/{run_id}/outcome.json"), read_records(store, run_id)
    running = not records or records[-1]["outcome"] == "running"
    unsaid = next((line.partition(FAILED)[2] for line in reversed(said) if running and FAILED in line), "")
    if found is not None and not unsaid:
        return Outcome(**found)
    step = records[-1]["step"] if records else "preflight"
    failure = failure_of(KILLED, records) or Failure(step=step, why="was the last step to run", log=said)
    if unsaid:
        failure = Failure(step=step, why=f"failed: {unsaid}", log=said)
    outcome = conclude_killed(store, run_id, failure)
    if found is None:
        tell(outcome, link_of(store, run_id, settings), settings)
    return outcome


def summarise(store: Store, outcome: Outcome, output: Path, seconds: float) -> dict[str, Any]:
    """The content of summary.json, from the records of the run; fetches its results."""
    records = {record["step"]: record for record in read_records(store, outcome.run_id)}
    results: dict[str, Any] = {}
    results_prefix = f"runs/{outcome.run_id}/results"
    if "compare" in records and records["compare"]["outcome"] == "succeeded":
        store.get_tree(results_prefix, output / "results")
        results = store.read_json(f"{results_prefix}/results.json") or {}
    pushed = details_of(records.values(), "push")
    return {
        "run_id": outcome.run_id,
        "ending": outcome.ending,
        "reason": outcome.sentence,
        "failed_step": outcome.failed_step,
        "results": results.get("results", []),
        "sources": results.get("sources", []),
        "confidence": results.get("confidence"),
        "form": results.get("form", ""),
        "answers": results.get("answers", []),
        "warnings": [*results.get("alarms", []), *outcome.warnings],
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
    for warning in summary["warnings"]:
        print(f"warning: {warning}")
    if outcome.failed_step:
        print(f"log:     {output / 'run.log'}")
    if summary["gate"]:
        print(f"gate:    {summary['gate']['reason']}")
    if summary["model"]:
        print(f"model:   {summary['model']}")
        print(f"try it:  .venv/bin/python pipeline.py ask --model {summary['model']} {_asked(summary)}")
    if summary["results"]:
        print(f"report:  {output / REPORT}")
    print(f"{outcome.ending}: {outcome.sentence} ({summary['seconds']['total']:.0f} s) -> {output / 'summary.json'}")


def _asked(summary: dict[str, Any]) -> str:
    """The rest of a command line that asks the model as it was trained."""
    kind = next(iter(summary["answers"]), "number")
    flags = ["--form boxed"] if "boxed" in summary["form"] else []
    flags += [f"--answers {kind}"] if kind != "number" else []
    return " ".join([*flags, f'"{_QUESTION}"' if kind == "number" else '"QUESTION"'])


_QUESTION = "Tom has 7 cards. Tom finds 9 more. Tom gives away 8. Tom buys 4 more. How many cards are left?"


_INDENT = "    "


class _Console:
    """Passes on what a step prints, a line when a step starts and ends; all of it goes to the log."""

    _TASK = re.compile(r"Executing task '([^']+)'|Task '([^']+)' finished with status (\w+)")
    _COLOUR = re.compile(r"\x1b\[[0-9;]*m")

    def __init__(self, console: TextIO, log: TextIO, progress: Progress) -> None:
        self.progress = progress
        self.console, self.log, self.rest = console, streams.Steady(log), ""
        self.step, self.in_json, self.started = "", False, 0.0
        self.tail: deque[str] = deque(maxlen=LOG_LINES)  # of the step
        self.failed: list[str] = []  # the tail of the first step that failed

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
            self.step, self.started = begun, time.monotonic()
            self.tail.clear()
            self.progress.begin(begun)
        elif ended:
            word = "done" if status == "SUCCESS" else "FAILED"
            self.failed = self.failed or (list(self.tail) if word == "FAILED" else [])
            seconds, self.step = time.monotonic() - self.started, ""
            print(f"[{ended}] {word} in {seconds:.1f} s", file=self.console, flush=True)
            self.progress.end(word == "done", seconds)

    def _output(self, line: str) -> None:
        if line.lstrip().startswith("[KFP Executor"):
            self.in_json = line.endswith("Got executor_input:")
        elif self.in_json:
            self.in_json = line != "}"
        elif line.strip():
            # KFP indents a step's first line once and the others twice.
            self.tail.append(line.removeprefix(_INDENT))
            self.progress.say(self.tail[-1])
            print(f"[{self.step}] {self.tail[-1]}", file=self.console, flush=True)


@contextlib.contextmanager
def _quiet(path: Path, progress: Progress) -> Iterator[_Console]:
    """Everything that is printed goes to the file `path`, and what a reader wants to see to the console."""
    log = path.open("w", encoding="utf-8", buffering=1)
    console = _Console(sys.stdout, log, progress)
    try:
        with contextlib.redirect_stdout(console):  # type: ignore[type-var]
            yield console
    finally:
        if console.log.broken:
            print(f"{path} is not complete: it could not be written to its end")
        with contextlib.suppress(OSError):  # what could not be written before cannot be now
            log.close()
