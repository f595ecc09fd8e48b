"""The verb `study`: run a study, list what it would do, tell how far it is, or report what there is."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from components.lib.reporting.table import lines
from components.lib.study import declared, report, results, runs, story
from components.lib.study.declared import Declared


def add(verb: argparse.ArgumentParser, start: Callable[..., int]) -> None:
    """Give the verb its flags; `start` runs a recipe on this machine."""

    def function(given: argparse.Namespace) -> int:
        *asked, name = given.words
        if asked not in ([], ["status"], ["report"]):
            raise ValueError(f"study {' '.join(given.words)}: write study FILE, study status FILE or study report FILE")
        study = declared.load(name, given.recipe, given.set)
        output = Path(os.path.realpath(given.output or f"out/{study.name}"))
        if given.dry_run:
            return _list(study, output)
        if asked == ["status"]:
            return _status(study, output)
        status = 0 if asked else runs.run_all(study, output, given.runner, start)
        if status <= 128:
            _report(study, output)
        if study.push_best and not asked and status == 0:
            status = _push_best(study, output, given.runner, start)
        return status

    known = ", ".join(declared.names())
    verb.add_argument("words", nargs="+", metavar="[status|report] NAME|FILE", help=f"one of {known}, or a YAML file")
    verb.add_argument("--recipe", default="", metavar="NAME|FILE", help="in place of the study's own")
    verb.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change any field of the recipe")
    verb.add_argument("--output", metavar="DIR", help="where everything goes (default: out/NAME)")
    verb.add_argument("--runner", default="subprocess", choices=("subprocess", "docker"), help="how each step runs")
    verb.add_argument(
        "--dry-run", action="store_true", help="list the runs, what they share, and about how long it takes"
    )
    verb.set_defaults(function=function)


def _list(study: Declared, output: Path) -> int:
    """Print the runs, those of them that have ended, what each has to do itself, and the time that is left."""
    planned = runs.planned(study, output)
    done = {place: outcome for place, run in enumerate(planned) if (outcome := run.measured())}
    fresh = runs.new_steps(planned)
    rows = []
    for place, (run, steps) in enumerate(zip(planned, fresh, strict=True)):
        same = [step for step in runs.steps_of(run.recipe) if step not in steps]
        rows.append((run.variant, str(run.seed), "done" if place in done else ", ".join(steps), ", ".join(same)))
    print(lines("lrll", ("variant", "seed", "has to do", "is the same as in a run above it"), rows))
    print(f"{len(planned)} runs, {len(done)} done; left: {runs.told_minutes(runs.seconds_left(planned, done))}")
    return 0


def _status(study: Declared, output: Path) -> int:
    """Print how each run stands."""
    planned, rows = runs.planned(study, output), []
    for run in planned:
        outcome = run.ended()
        told = ("to do", "") if outcome is None else (outcome.ending, outcome.sentence)
        rows.append((run.variant, str(run.seed), *told))
    print(lines("lrll", ("variant", "seed", "ending", ""), rows))
    done = {place: outcome for place, run in enumerate(planned) if (outcome := run.measured())}
    print(f"{len(done)} of {len(planned)} runs done; left: {runs.told_minutes(runs.seconds_left(planned, done))}")
    return 0


def _report(study: Declared, output: Path) -> None:
    """Write the report of what there is, and print what it says."""
    found = results.compute(study, runs.planned(study, output))
    report.write(found, output)
    print(f"\n{story.headline(found)}\n")
    for line in [*found["warnings"], *story.sentences(found)]:
        print(f"- {line}")
    print(f"\nreport: {output / 'study.html'}")


def _push_best(study: Declared, output: Path, runner: str, start: Callable[..., int]) -> int:
    """Let the gate judge the variant with the highest mean accuracy; returns the exit status."""
    found = results.compute(study, runs.planned(study, output))
    first = found["accuracies"][0]["protocol"]
    means = {row["variant"]: row["mean"] for row in found["accuracies"] if row["protocol"] == first}
    best = max((name for name in means if name in study.recipes), key=lambda name: means[name])
    return runs.promote(study, best, output, runner, start)
