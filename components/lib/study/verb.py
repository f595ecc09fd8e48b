"""The verb `study`: run a study, list what it would do, tell how far it is, or report what there is."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.lib.cluster import images, verbs
from components.lib.cluster.api import arguments_of, connect, endpoint_of
from components.lib.reporting.table import lines
from components.lib.study import declared, on_cluster, report, results, runs, story
from components.lib.study.declared import Declared
from components.lib.study.on_cluster import Cluster


def add(verb: argparse.ArgumentParser, start: Callable[..., int], build: Callable[..., Any]) -> None:
    """Give the verb its flags; `start` runs a recipe on this machine, `build` makes its pipeline for a cluster."""
    verb.set_defaults(function=lambda given: _study(given, start, build))
    known = ", ".join(declared.names())
    verb.add_argument("words", nargs="+", metavar="[status|report] NAME|FILE", help=f"one of {known}, or a YAML file")
    verb.add_argument("--recipe", default="", metavar="NAME|FILE", help="in place of the study's own")
    verb.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change any field of the recipe")
    verb.add_argument("--output", metavar="DIR", help="where everything goes (default: out/NAME)")
    verb.add_argument("--runner", default="subprocess", choices=("subprocess", "docker"), help="how each step runs")
    verb.add_argument("--cluster", action="store_true", help="run it on a cluster, as runs of one experiment")
    verb.add_argument("--parallel", type=int, default=0, metavar="N", help="runs at once there (default: the file's)")
    verbs.add_place(verb)
    verbs.add_account(verb)
    verb.add_argument(
        "--dry-run", action="store_true", help="list the runs, what they share, and about how long it takes"
    )


def _study(given: argparse.Namespace, start: Callable[..., int], build: Callable[..., Any]) -> int:
    """What the verb does; returns the exit status."""
    *asked, name = given.words
    if asked not in ([], ["status"], ["report"]):
        raise ValueError(f"study {' '.join(given.words)}: write study FILE, study status FILE or study report FILE")
    study = declared.load(name, given.recipe, given.set)
    output = Path(os.path.realpath(given.output or f"out/{study.name}"))
    parallel = _parallel(given, study)
    if given.dry_run:
        return _list(study, output, parallel)
    if asked == ["report"]:
        return _report(study, output)
    cluster = _cluster(given, study, build) if given.cluster else None
    if asked == ["status"]:
        return _status(study, output, parallel, cluster)
    if cluster:
        status = on_cluster.run_all(study, output, cluster, parallel)
    else:
        status = runs.run_all(study, output, given.runner, start)
    if status <= 128:
        _report(study, output)
    if study.push_best and status == 0:
        best = _best(study, output)
        if cluster:
            return on_cluster.promote(study, best, output, cluster)
        return runs.promote(study, best, output, given.runner, start)
    return status


def _parallel(given: argparse.Namespace, study: Declared) -> int:
    """How many runs go on at once, 0 on this machine; `ValueError` for a study that cannot be on a cluster."""
    if not given.cluster:
        return 0
    if given.parallel < 0:
        raise ValueError(f"--parallel {given.parallel}: give a number from 1 on")
    for recipe in study.recipes.values():
        arguments_of(recipe)
    return given.parallel or study.parallel


def _cluster(given: argparse.Namespace, study: Declared, build: Callable[..., Any]) -> Cluster:
    """The cluster that the command names, after it has answered."""
    images.check_chosen()
    endpoint = endpoint_of(given.endpoint)
    client = connect(endpoint, given.namespace)
    return Cluster(client, endpoint, given.namespace, given.service_account, build)


def _list(study: Declared, output: Path, parallel: int) -> int:
    """Print the runs, those of them that have ended, what each has to do itself, and the time that is left."""
    planned = runs.planned(study, output, cluster=bool(parallel))
    done = {place: outcome for place, run in enumerate(planned) if (outcome := run.measured())}
    fresh = runs.new_steps(planned)
    rows = []
    for place, (run, steps) in enumerate(zip(planned, fresh, strict=True)):
        same = [step for step in runs.steps_of(run.recipe) if step not in steps]
        rows.append((run.variant, str(run.seed), "done" if place in done else ", ".join(steps), ", ".join(same)))
    print(lines("lrll", ("variant", "seed", "has to do", "is the same as in a run above it"), rows))
    print(f"{len(planned)} runs, {len(done)} done; left: {runs.told_left(planned, done, parallel)}")
    return 0


def _status(study: Declared, output: Path, parallel: int, cluster: Cluster | None) -> int:
    """Print how each run stands; of a cluster also which are at work."""
    planned, rows = runs.planned(study, output, cluster=bool(cluster)), []
    working = cluster.working(study) if cluster else {}
    for run in planned:
        outcome = run.ended()
        told = ("to do", "") if outcome is None else (outcome.ending, outcome.sentence)
        if run_id := working.get(on_cluster.name_of(run)):
            told = ("at work", f"run {run_id}")
        rows.append((run.variant, str(run.seed), *told))
    print(lines("lrll", ("variant", "seed", "ending", ""), rows))
    done = {place: outcome for place, run in enumerate(planned) if (outcome := run.measured())}
    print(f"{len(done)} of {len(planned)} runs done; left: {runs.told_left(planned, done, parallel)}")
    return 0


def _report(study: Declared, output: Path) -> int:
    """Write the report of what there is, and print what it says."""
    found = results.compute(study, runs.planned(study, output))
    report.write(found, output)
    print(f"\n{story.headline(found)}\n")
    for line in [*found["warnings"], *story.sentences(found)]:
        print(f"- {line}")
    print(f"\nreport: {output / 'study.html'}")
    return 0


def _best(study: Declared, output: Path) -> str:
    """The variant with the highest mean accuracy, by the protocol that comes first."""
    found = results.compute(study, runs.planned(study, output))
    first = found["accuracies"][0]["protocol"]
    means = {row["variant"]: row["mean"] for row in found["accuracies"] if row["protocol"] == first}
    return max((name for name in means if name in study.recipes), key=lambda name: means[name])
