"""The runs of a study: which they are, which have ended, what each still has to do, and how they are started.

OUTPUT/runs/VARIANT/SEED/                    a run, as `pipeline.py run --output` leaves it
OUTPUT/checkpoints/, OUTPUT/shared/          trainings, data and evaluations, each under a key of what decides it
REGISTRY/studies/NAME/VARIANT/SEED/          a registry for each run; REGISTRY is OUTPUT/registry unless named
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components.lib import ending
from components.lib.model.names import EMBEDDED
from components.lib.recipe import files
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import plain, replace
from components.lib.registry.outcome import Outcome, read_outcomes
from components.lib.registry.store import open_store
from components.lib.study.declared import BASE, Declared

LOCK = ".study.lock"
MEASURED = "measured"
# Seconds of a step of the tiny model on two CPU cores, most of it the start of a process; until runs have told better.
TINY_S = {"standardize": 8, "evaluate-base": 25, "sft": 40, "evaluate-sft": 25, "grpo": 60, "evaluate-grpo": 25}


class Cost(NamedTuple):
    """Seconds that a run takes beside the work of its steps."""

    rest: float  # of the other steps
    step: float  # of a step beyond its work
    same: float  # of a step that another run has done


HERE = Cost(rest=12, step=0, same=4)
CLUSTER = Cost(rest=120, step=20, same=10)  # Argo looks every 10 s, and a step has two Pods


@dataclass(frozen=True)
class Run:
    """A run of a study, done or not."""

    variant: str
    seed: int
    recipe: Recipe
    output: Path

    @property
    def name(self) -> str:
        """Variant and seed in words."""
        return f"{self.variant}, seed {self.seed}"

    def ended(self) -> Outcome | None:
        """The newest outcome of this very recipe, None if it has none; what is in the registry of another is not."""
        store = open_store(self.recipe.registry)
        for outcome in reversed(read_outcomes(store)):
            results = store.read_json(f"runs/{outcome.run_id}/results/results.json") or {}
            if outcome.ending != MEASURED or _same((results.get("run") or {}).get("recipe_file", ""), self._file):
                return outcome
        return None

    @cached_property
    def _file(self) -> str:
        """The recipe as a run keeps it; writing it takes a while."""
        return files.write(replace(self.recipe, registry="", checkpoints=""))

    def measured(self) -> Outcome | None:
        """Its outcome if it came to its end."""
        outcome = self.ended()
        return outcome if outcome and outcome.ending == MEASURED else None


def planned(study: Declared, output: Path, *, cluster: bool = False) -> list[Run]:
    """All runs of a study, every variant with one seed before the next seed, so that what there is can be compared.

    On a cluster training checkpoints go where the recipe says, or to its claim.

    `ValueError` if there is a base and variants begin with different ones.
    """
    bases = {steps_of(recipe)["evaluate-base"] for recipe in study.recipes.values()}
    if BASE in study.variants and len(bases) > 1:
        raise ValueError(
            f"study {study.name}: {BASE} is not one: variants differ in model, data or `evaluate`; leave it out"
        )
    return [
        Run(variant, seed, _own(study, output, variant, seed, cluster), output / "runs" / variant / str(seed))
        for seed in study.seeds
        for variant in study.recipes
    ]


def registry_of(study: Declared, output: Path) -> str:
    """Where the registries of the runs lie."""
    return study.any_recipe.registry or str(output / "registry")


def steps_of(recipe: Recipe) -> dict[str, str]:
    """Step -> a key of the settings that decide it; two runs share a step if its keys are equal."""
    values = plain(recipe)
    data = [values[name] for name in (
        "model", "revision", "sources", "evaluation", "form", "system_prompt", "checkers", "sample", "standardize",
        "data_seed",
    )]  # fmt: skip
    found: dict[str, list[Any]] = {"standardize": [data]}
    model: list[Any] = [data]
    asked = [values["evaluate"], recipe.seed if recipe.evaluate.temperature else 0]
    found["evaluate-base"] = [*model, asked]
    for stage in recipe.stages:
        model = [*model, stage, values[stage], values["scale"], recipe.seed]
        found[stage], found[f"evaluate-{stage}"] = model, [*model, asked]
    return {step: json.dumps(key, sort_keys=True) for step, key in found.items()}


def new_steps(runs: Sequence[Run]) -> list[list[str]]:
    """For each run the steps that no run before it in the list has done."""
    seen: set[tuple[str, str]] = set()
    found = []
    for run in runs:
        steps = set(steps_of(run.recipe).items())
        found.append([step for step, key in steps_of(run.recipe).items() if (step, key) not in seen])
        seen |= steps
    return found


def seconds_left(runs: Sequence[Run], done: Mapping[int, Outcome], cost: Cost = HERE) -> float | None:
    """About how long the runs take that are not `done` (place in `runs` -> outcome); None if nothing tells it yet.

    One after another.
    """
    known: dict[str, float] = {}
    if all(run.recipe.model in EMBEDDED for run in runs):
        known |= TINY_S
    fresh = new_steps(runs)
    for place, outcome in done.items():
        took = {step: outcome.seconds[step] for step in fresh[place] if step in outcome.seconds}
        known |= {step: max(seconds, took.get(step, 0.0)) for step, seconds in took.items()}
    if not all(step in known for steps in fresh for step in steps):
        return None
    return sum(
        cost.rest + sum(known[step] + cost.step if step in fresh[place] else cost.same for step in steps_of(run.recipe))
        for place, run in enumerate(runs)
        if place not in done
    )


def run_all(study: Declared, output: Path, runner: str, start: Callable[..., int]) -> int:
    """Run what has not ended yet, one run after another; returns the exit status: 0, 1 if runs failed, or a signal's.

    A run that fails is named, and the others go on. A signal ends the running run, and the study with it; the same
    command goes on there. `start` runs one (pipeline.run_here).
    """
    output.mkdir(parents=True, exist_ok=True)
    with ending.locked(output / LOCK, 0) or in_use(output):
        runs = planned(study, output)
        done = {place: outcome for place, run in enumerate(runs) if (outcome := run.measured())}
        failed = []
        for place, run in enumerate(runs):
            if place in done:
                continue
            left = told_left(runs, done)
            print(f"\nstudy {study.name}: run {place + 1} of {len(runs)}: {run.name}; left: {left}", flush=True)
            status = _start(run, output, runner, start)
            if status > 128:
                print(f"study {study.name}: ended by a signal; the same command goes on with {run.name}")
                return status
            if outcome := run.measured():
                done[place] = outcome
            else:
                failed.append(run.name)
        for name in failed:
            print(f"study {study.name}: FAILED: {name}")
        return 1 if failed else 0


def promote(study: Declared, variant: str, output: Path, runner: str, start: Callable[..., int]) -> int:
    """Run a variant with its first seed once more, as any run: with gate and push, into the study's own registry.

    What is trained already is taken from the study's checkpoints. Returns the exit status.
    """
    print(f"\nstudy {study.name}: {variant} with gate and push", flush=True)
    return start(best(study, variant, output), output=output / "best", runner=runner, study=output)


def best(study: Declared, variant: str, output: Path, *, cluster: bool = False) -> Recipe:
    """The recipe of the run with gate and push: that of a variant with its first seed."""
    return replace(
        study.recipes[variant], seed=study.seeds[0], registry=registry_of(study, output), always=True,
        checkpoints=_checkpoints(study, output, cluster),
    )  # fmt: skip


def told_left(runs: Sequence[Run], done: Mapping[int, Outcome], parallel: int = 0) -> str:
    """About how long the rest takes, in words; `parallel` runs at once on a cluster, 0 on this machine."""
    seconds = seconds_left(runs, done, CLUSTER if parallel else HERE)
    if seconds is None:
        return "not known before the first run has ended"
    return f"about {max(1, round(seconds / max(parallel, 1) / 60))} min"


def _start(run: Run, output: Path, runner: str, start: Callable[..., int]) -> int:
    """One run; returns its exit status, 1 for what kept it from starting, which is printed."""
    try:
        return start(run.recipe, output=run.output, runner=runner, study=output, judged=False)
    except (ValueError, OSError) as error:
        print(f"{run.name}: {error}", flush=True)
        return 1


def _own(study: Declared, output: Path, variant: str, seed: int, cluster: bool) -> Recipe:
    """The recipe of a run: of the gate's problems it asks one, the fewest, since no gate will decide."""
    recipe = study.recipes[variant]
    return replace(
        recipe, seed=seed, registry=f"{registry_of(study, output)}/studies/{study.name}/{variant}/{seed}",
        checkpoints=_checkpoints(study, output, cluster),
        evaluate=replace(recipe.evaluate, gate_problems=1, gate_protocols=("zero-shot",)),
    )  # fmt: skip


def _checkpoints(study: Declared, output: Path, cluster: bool) -> str:
    return study.any_recipe.checkpoints or ("" if cluster else str(output / "checkpoints"))


def _same(one: str, other: str) -> bool:
    """Whether two recipe files have the same values: the help texts may have been worded anew."""
    return one == other or yaml.safe_load(one) == yaml.safe_load(other)


def in_use(output: Path) -> Any:
    """Refuse the output of a study that is being run."""
    raise ValueError(f"--output {output} is in use by another `study`; wait until it has ended, or give another")
