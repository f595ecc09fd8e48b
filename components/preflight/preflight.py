"""Check a run's inputs, resolve every revision, and decide whether there is anything to do.

Nothing here is cached: a branch that moved, a local file that changed or an S3 object with a new ETag gives
another plan, and the plan is an input of the cached steps that follow. A run also takes the registry's lock here,
and, once all its inputs are found good, clears away what older runs have left.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.lib import machine
from components.lib.answers import checker
from components.lib.data.detect import resolved
from components.lib.data.sources import pinned
from components.lib.files import PACKAGE, code_sha256, expanded, sha256, tree_sha256, write_text
from components.lib.model.files import check_hub_id, check_model, config_of, directory_of
from components.lib.recipe import recipes
from components.lib.recipe.checkers import check_length, hash_of, with_code
from components.lib.recipe.paths import kind_of
from components.lib.recipe.schema import Notify, Recipe, Source
from components.lib.recipe.settings import from_json, plain, replace, to_json
from components.lib.registry import lock
from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.investigate import found_out
from components.lib.registry.outcome import KILLED, Outcome, conclude_killed, inputs_of, read_outcomes
from components.lib.registry.plan import Plan
from components.lib.registry.record import read_records, recorded
from components.lib.registry.store import checked_registry
from components.lib.reporting.tell import link_of, tell
from components.lib.training import vram
from components.preflight import screening
from components.preflight.clean import clean
from components.preflight.model import check_fit
from components.preflight.room import check_locks, check_room

STEPS = ("sample", "standardize", "sft", "grpo", "training", "scale", "evaluate", "gate", "push")
OUTPUTS = ("merged", "fingerprint", "champion", *STEPS)  # of the component: the recipe, and the settings of each step
# What does not change what a run would produce.
_NOT_COMPARED = (
    "base", "registry", "checkpoints", "always", "lock_timeout_s", "training", "trainer", "keep", "notify", "cluster",
)  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """What preflight found: the merged recipe, the plan, and why the run goes on or not."""

    recipe: Recipe
    plan: Plan
    fingerprint: str
    champion: str  # version, empty if there is none
    changed: bool
    reason: str


def run_preflight(
    *, run_id: str, recipe: str, parameters: Mapping[str, Any], outputs: Mapping[str, Path], artifact: str
) -> str:
    """Run preflight as a step of run `run_id`; returns the plan's text, empty if nothing has changed.

    `recipe` is the compiled one as JSON, `parameters` (flat name -> value) go on top. Each of OUTPUTS is written to
    its file. `artifact` is where KFP keeps one of them. Takes the registry's lock, which the exit handler releases,
    and deletes what the recipe does not keep.
    """
    if not parameters["registry"]:
        raise ValueError("registry is empty; give a directory or an s3:// address that all steps can write")
    with recorded(parameters["registry"], run_id, "preflight", artifact=artifact) as record:
        given = merge(from_json(Recipe, recipe), parameters)
        store = _own_registry(given, run_id)
        plan = check_inputs(given)
        for gone in clean(store, given.keep, given.checkpoints, time.time()):
            print(f"deleted: {gone}", flush=True)
        check_room(given, plan, outputs["merged"].parent)  # what was deleted may be the room that it needs
        checked = compare(store, given, plan)
        for name, text in _outputs(checked).items():
            write_text(outputs[name], text)
        record.result = checked.reason
        record.details = {
            "recipe": checked.recipe.name, "plan": checked.plan.hashed().text(), "fingerprint": checked.fingerprint,
            "changed": checked.changed,
        }  # fmt: skip
        print(f"preflight: {checked.reason}; model {checked.plan.model} at {checked.plan.revision}")
    return checked.plan.text() if checked.changed else ""


def _own_registry(recipe: Recipe, run_id: str) -> Store:
    """Make the registry this run's: nobody else writes there from now on."""
    store = checked_registry(recipe.registry)
    if dead := lock.take(store, run_id, recipe.lock_timeout_s):
        _conclude_dead(store, dead, recipe.notify)
    return store


def _conclude_dead(store: Store, run_id: str, settings: Notify) -> None:
    """Write and tell the outcome of a run that ended without its exit handler; a push by hand is none."""
    if read_records(store, run_id) and store.read(f"runs/{run_id}/outcome.json") is None:
        outcome = conclude_killed(store, run_id, found_out(store, run_id, KILLED))
        tell(outcome, link_of(store, run_id, settings), settings)


def check_run(recipe_text: str, parameters: Mapping[str, Any]) -> Checked:
    """Merge `parameters` (flat name -> value) into the recipe, check it all, and compare with the runs before.

    Raises `ValueError` that names the bad value, the place and what to do.
    """
    recipe = merge(from_json(Recipe, recipe_text), parameters)
    store = checked_registry(recipe.registry)
    plan = check_inputs(recipe)
    check_room(recipe, plan, None)
    return compare(store, recipe, plan)


def check_inputs(recipe: Recipe) -> Plan:
    """The plan of a recipe, after all was checked that another run cannot change."""
    if recipe.hub_repos:
        from components.lib.hub import check_may_push

        check_may_push(recipe.hub_repos)
    plan = resolve(recipe)
    for answers, text in plan.checkers.items():
        checker.load(answers, text)
        print(f"answers {answers}: {hash_of(text)}", flush=True)
    check_length(plan.text(), to_json(_without_code(recipe)))  # the longest inputs of a step: those of push
    check_fit(recipe, plan)
    check_names(recipe, plan)
    _check_memory(recipe, plan)
    if told := screening.cost(recipe, plan):
        print(told, flush=True)
    if recipe.checkpoints:
        check_locks(expanded(recipe.checkpoints).absolute())
    return plan


def compare(store: Store, recipe: Recipe, plan: Plan) -> Checked:
    """What a run of this plan finds in the registry: the champion, and whether anything has changed since."""
    fingerprint, outcomes = fingerprint_of(recipe, plan), read_outcomes(store)
    champion = read_champion(store)
    reason = why_unchanged(fingerprint, champion, outcomes, recipe.gate.force)
    made = [outcome for outcome in outcomes if outcome.inputs == inputs_of(plan) and outcome.ending != "no-change"]
    cleaned = sum(outcome.cleaned for outcome in made)
    return Checked(
        recipe=recipe,
        plan=replace(plan, generation=cleaned),
        fingerprint=fingerprint,
        champion=champion.get("version", ""),
        changed=recipe.always or not reason,
        reason=_reason(reason, champion, recipe.always),
    )


def check_names(recipe: Recipe, plan: Plan) -> None:
    """Refuse rollouts by vLLM of a vision-language checkpoint that no SFT has made a text model of.

    TRL hands over weights by the names of the text model, which vLLM's class for such a checkpoint does not know.
    """
    config = config_of(plan.model, plan.revision)
    if recipe.grpo.rollouts == "vllm" and recipe.stages[:1] == ("grpo",) and "vision_config" in config:
        raise ValueError(
            f"grpo_rollouts=vllm cannot begin with model {plan.model}, a vision-language checkpoint whose weights have "
            "other names in vLLM than in training; put sft before it in stages, or set grpo_rollouts=transformers"
        )


def _check_memory(recipe: Recipe, plan: Plan) -> None:
    """Refuse a training that cannot fit the GPU which the recipe names, or this machine where it trains without one."""
    gib, device = recipe.training.gpu_memory_gib or None, vram.GPU
    if not gib and os.environ.get(lock.OWNER_VARIABLE) and not machine.gpus()["gpus"]:
        gib, device = machine.memory_gib(), vram.CPU
    if gib:
        config = config_of(plan.model, plan.revision)
        for stage in recipe.stages:
            print(vram.check(config, stage, getattr(recipe, stage), gib, recipe.scale, device))


def merge(recipe: Recipe, parameters: Mapping[str, Any]) -> Recipe:
    """The recipe with run parameters on top, checked field by field."""
    for flat_name, value in parameters.items():
        recipe = recipes.with_value(recipe, flat_name, value)
    recipes.check_recipe(recipe)
    recipe = with_code(recipe)
    return recipe


def resolve(recipe: Recipe) -> Plan:
    """Fix the revision of the model and of every source, and look into those that lie here."""
    plan = Plan(
        model=recipe.model,
        revision=_model_revision(recipe.model, recipe.revision),
        sources=tuple(_resolve_source(source) for source in recipe.sources),
        evaluation=tuple(_resolve_source(source) for source in recipe.evaluation),
        seed=recipe.seed,
        data_seed=recipe.data_seed,
        form=recipe.form,
        system_prompt=recipe.system_prompt,
        checkers=recipe.checkers,
    )
    uses = {_use(source, plan.rows_seed) for source in plan.sources}
    if not uses & {"", "problems", "both"}:
        raise ValueError("sources has no source of problems; give one with adapter gsm8k or use problems")
    for source in plan.evaluation:
        _use(source, plan.rows_seed)
    return plan


def _use(source: Source, seed: int) -> str:
    """What a source is for, "" where its rows decide and lie elsewhere; `ValueError` if its first rows fit nothing."""
    return resolved(source, seed)[0].use if kind_of(source.path) in ("file", "tiny") else source.purpose


def fingerprint_of(recipe: Recipe, plan: Plan) -> str:
    """A hash of all that decides what a run produces: inputs at their revisions, settings, and this code."""
    settings = {k: v for k, v in plain(recipe).items() if k not in (*_NOT_COMPARED, "checkers")}
    for stage, name in (("gate", "force"), ("push", "private")):
        del settings[stage][name]
    text = json.dumps([settings, plan.hashed().text(), code_sha256()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def why_unchanged(fingerprint: str, champion: Mapping[str, Any], outcomes: list[Outcome], force: bool) -> str:
    """Why a run with this fingerprint can bring nothing new, empty if it may.

    It would make the champion again, or a model that the gate has rejected against this very champion; by `force`
    that one is promoted.
    """
    if champion.get("fingerprint") == fingerprint:
        return f"nothing has changed since champion {champion['version']}"
    for outcome in reversed(outcomes):
        same = outcome.fingerprint == fingerprint and outcome.champion == champion.get("version", "")
        if same and outcome.ending == "rejected" and not force:
            return f"nothing has changed since run {outcome.run_id}, which was rejected"
    return ""


def _reason(unchanged: str, champion: Mapping[str, Any], always: bool) -> str:
    if unchanged:
        return f"{unchanged}, but always is set" if always else f"{unchanged}: no run is needed"
    if not champion:
        return "there is no champion yet"
    return f"something has changed since champion {champion['version']}"


def _outputs(checked: Checked) -> dict[str, str]:
    settings = {step: to_json(getattr(checked.recipe, step)) for step in STEPS}
    merged = to_json(_without_code(checked.recipe))
    return {"merged": merged, "fingerprint": checked.fingerprint, "champion": checked.champion, **settings}


def _without_code(recipe: Recipe) -> Recipe:
    """The recipe as push gets it beside the plan, which has the checkers' code."""
    return replace(recipe, checkers={})


def _model_revision(model: str, revision: str) -> str:
    """The commit of a Hub model, or the hash of one that lies here, once it is known that it can be loaded."""
    if directory := directory_of(model):
        check_model(model, "")
        return f"sha256:{tree_sha256(directory, '*')[:16]}"
    check_hub_id(model)
    from components.lib.hub import commit_of

    commit = commit_of("model", model, revision)
    check_model(model, commit)
    return commit


def _resolve_source(source: Source) -> Source:
    kind = kind_of(source.path)
    if kind == "tiny":
        return replace(source, revision=f"sha256:{sha256(PACKAGE / 'lib' / 'tiny' / 'problems.py')[:16]}")
    if kind == "s3":
        from components.lib.registry.s3 import object_etag

        return replace(source, revision=f"etag:{object_etag(source.path)}")
    if kind == "hub":
        from components.lib.hub import check_readable, commit_of

        commit = commit_of("dataset", source.path, source.revision)
        check_readable("dataset", source.path)
        return replace(source, revision=commit)
    return pinned(source)
