"""The runs of a study as KFP runs of one experiment: submitted, found again after a kill, watched to their ends.

A run goes by its name in the experiment: variant, seed, and a hash of its recipe. So whoever comes after a kill sees
which runs are at work, and submits no second one.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.lib import ending
from components.lib.cluster import watch
from components.lib.cluster.api import ENDED
from components.lib.cluster.submit import newest_runs, submit
from components.lib.cluster.verdict import verdict
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import to_json
from components.lib.study import runs
from components.lib.study.declared import Declared
from components.lib.study.runs import Run


@dataclass(frozen=True)
class Cluster:
    """Where the runs of a study go; `build` makes the KFP pipeline of a recipe."""

    client: Any
    endpoint: str
    namespace: str
    account: str
    build: Callable[..., Any]

    def submit(self, study: Declared, recipe: Recipe, name: str, *, judged: bool, wait: bool = False) -> int:
        """Start a run of the study's experiment that shares its steps with the others; returns the exit status."""
        return submit(
            recipe, self.build(recipe, judged=judged, shared=True), self.client, endpoint=self.endpoint,
            namespace=self.namespace, experiment=study.name, run_name=name, service_account=self.account, cache=True,
            wait=wait,
        )  # fmt: skip

    def working(self, study: Declared) -> dict[str, str]:
        """Name -> id of the runs of the study's experiment that have not ended."""
        found = newest_runs(self.client, study.name, self.namespace)
        return {name: run.run_id for name, run in found.items() if run.state not in ENDED}


@dataclass
class Working:
    """A run that has been submitted and has not ended, as far as anybody has seen."""

    run: Run
    run_id: str
    seen: watch.Seen
    spec: dict[str, Any]
    states: dict[str, str] = field(default_factory=dict)  # of its steps, by their display names

    @property
    def steps(self) -> set[tuple[str, str]]:
        """Its steps with their keys."""
        return set(runs.steps_of(self.run.recipe).items())

    @property
    def done(self) -> set[tuple[str, str]]:
        """Those of them that have succeeded."""
        names = {name.lower().replace(" ", "-") for name, state in self.states.items() if state == "SUCCEEDED"}
        return {(step, key) for step, key in self.steps if step in names}


class Experiment:
    """The runs of a study on a cluster."""

    def __init__(self, study: Declared, output: Path, cluster: Cluster, parallel: int) -> None:
        self.study, self.cluster, self.parallel = study, cluster, parallel
        self.runs = runs.planned(study, output, cluster=True)
        self.done = {place: outcome for place, run in enumerate(self.runs) if (outcome := run.measured())}
        self.to_do = [run for place, run in enumerate(self.runs) if place not in self.done]
        self.working: list[Working] = []
        self.cached: set[tuple[str, str]] = set()  # steps, with their keys, that were seen to succeed
        self.failed: list[str] = []

    def to_the_end(self) -> None:
        """Bring every run to its end; one that fails is named in `failed`."""
        found = self.cluster.working(self.study)
        for run in [run for run in self.to_do if name_of(run) in found]:
            print(f"{run.name}: is at work already, as run {found[name_of(run)]}", flush=True)
            self._follow(run, found[name_of(run)])
        while self.to_do or self.working:
            self._start()
            self._look()
            time.sleep(watch.POLL_S if self.to_do or self.working else 0)

    def _start(self) -> None:
        """Submit what may begin: as many as there is room for, and none that would do what another is doing."""
        for run in list(self.to_do):
            new = set(runs.steps_of(run.recipe).items()) - self.cached
            if len(self.working) < self.parallel and not any(new & other.steps for other in self.working):
                self._submit(run)

    def _submit(self, run: Run) -> None:
        from urllib3.exceptions import HTTPError

        print(f"\nstudy {self.study.name}: {run.name}; {self.told()}", flush=True)
        try:
            self.cluster.submit(self.study, run.recipe, name_of(run), judged=False)
        except ValueError as error:
            print(f"{run.name}: {error}", flush=True)
            self.to_do.remove(run)
            self.failed.append(run.name)
        except HTTPError as error:
            print(f"{run.name}: {error}; it is looked whether the run was made", flush=True)
        if run in self.to_do and (run_id := self.cluster.working(self.study).get(name_of(run))):
            self._follow(run, run_id)

    def _follow(self, run: Run, run_id: str) -> None:
        self.to_do.remove(run)
        spec = watch.spec_of(self.cluster.client, watch.asked(self.cluster.client, run_id))
        self.working.append(Working(run, run_id, watch.Seen(self.cluster.namespace, run_id, run.name), spec))

    def _look(self) -> None:
        """Tell what is new of the runs at work, and what became of those that have ended."""
        for each in list(self.working):
            found = watch.asked(self.cluster.client, each.run_id)
            each.states = watch.step_states(found, watch.step_names(each.spec))
            self.cached |= each.done
            if found.state in ENDED:
                self.working.remove(each)
                self._end(each, found)
            else:
                each.seen.look(each.states)

    def _end(self, each: Working, found: Any) -> None:
        failed = [name for name, state in each.states.items() if state == "FAILED"]
        lines, _ = verdict(self.cluster.endpoint, found, each.run.recipe.registry, failed, each.seen.late)
        if outcome := each.run.measured():
            self.done[self.runs.index(each.run)] = outcome
        else:
            self.failed.append(each.run.name)
        print("\n".join([*lines[:-2], f"{each.run.name}: {lines[-2]}", f"{lines[-1]}; {self.told()}"]), flush=True)

    def told(self) -> str:
        """How far it is, in words."""
        left = runs.told_left(self.runs, self.done, self.parallel)
        return f"{len(self.done)} of {len(self.runs)} runs done, {len(self.working)} at work; left: {left}"


def name_of(run: Run) -> str:
    """The name of a run in the experiment; one of another recipe has another."""
    return f"{run.name} {hashlib.sha256(to_json(run.recipe).encode()).hexdigest()[:8]}"


def run_all(study: Declared, output: Path, cluster: Cluster, parallel: int) -> int:
    """Run what has not ended yet, at most `parallel` at once; returns the exit status: 0, 1 if runs failed, or 130.

    Ctrl-C, or a kill, ends the watching alone; the same command goes on there.
    """
    output.mkdir(parents=True, exist_ok=True)
    with ending.locked(output / runs.LOCK, 0) or runs.in_use(output):
        all_of_it = Experiment(study, output, cluster, parallel)
        try:
            all_of_it.to_the_end()
        except KeyboardInterrupt:
            print(f"\nstudy {study.name}: what is at work goes on, unwatched; the same command finds it again")
            return watch.INTERRUPTED
        for name in all_of_it.failed:
            print(f"study {study.name}: FAILED: {name}")
        return 1 if all_of_it.failed else 0


def promote(study: Declared, variant: str, output: Path, cluster: Cluster) -> int:
    """Run a variant with its first seed once more, with gate and push, as `runs.promote` does, to its end."""
    name = f"best: {variant}"
    if run_id := cluster.working(study).get(name):
        return watch.watch(cluster.client, cluster.endpoint, cluster.namespace, run_id)
    recipe = runs.best(study, variant, output, cluster=True)
    print(f"\nstudy {study.name}: {variant} with gate and push", flush=True)
    return cluster.submit(study, recipe, name, judged=True, wait=True)
