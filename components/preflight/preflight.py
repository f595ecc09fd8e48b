"""Check a run's inputs, resolve every revision, and decide whether there is anything to do.

Nothing here is cached: a branch that moved, a local file that changed or an S3 object with a new ETag gives
another plan, and the plan is an input of the cached steps that follow.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from components import recipes
from components.files import sha256, tree_sha256
from components.models import check_hub_id, model_directory
from components.plan import Plan
from components.record import recorded
from components.schema import Recipe, Source
from components.settings import from_json, to_json
from components.standardize.sources import kind_of, pinned
from components.store import Store, open_store

CHAMPION = "champion.json"
DISK_NEEDED_GIB = 2
STEPS = ("sample", "standardize", "sft", "grpo", "training", "scale", "evaluate", "compare", "gate", "push")
# What does not change what a run would produce.
_NOT_COMPARED = ("registry", "checkpoints", "always", "training", "trainer", "cluster")


@dataclass(frozen=True)
class Checked:
    """What preflight found: the merged recipe, the plan, and why the run goes on or not."""

    recipe: Recipe
    plan: Plan
    fingerprint: str
    changed: bool
    reason: str


def run_preflight(given: dict[str, Any]) -> str:
    """Run preflight with the component's arguments; returns the plan's text, empty if nothing has changed."""
    parameters = {name: given[name] for name in recipes.PARAMETERS}
    if not parameters["registry"]:
        raise ValueError("registry is empty; give a directory or an s3:// address that all steps can write")
    with recorded(parameters["registry"], given["run_id"], "preflight") as record:
        checked = check_run(given["recipe"], parameters)
        for name, text in _outputs(checked).items():
            Path(given[name]).parent.mkdir(parents=True, exist_ok=True)
            Path(given[name]).write_text(text)
        record.result = checked.reason
        record.details = {"recipe": checked.recipe.name, "plan": checked.plan.text()}
        print(f"preflight: {checked.reason}; model {checked.plan.model} at {checked.plan.revision}")
    return checked.plan.text() if checked.changed else ""


def check_run(recipe_text: str, parameters: Mapping[str, Any]) -> Checked:
    """Merge `parameters` (flat name -> value) into the recipe, check it all, and compare with the champion.

    Raises `ValueError` that names the bad value, the place and the mend.
    """
    recipe = merge(from_json(Recipe, recipe_text), parameters)
    store = checked_registry(recipe.registry)
    _check_disk(Path.cwd())
    if recipe.push.hub_repo:
        _check_hub_token(recipe.push.hub_repo)
    plan = resolve(recipe)
    fingerprint = fingerprint_of(recipe, plan)
    changed, reason = _changed(store, fingerprint, recipe)
    return Checked(recipe, plan, fingerprint, changed, reason)


def merge(recipe: Recipe, parameters: Mapping[str, Any]) -> Recipe:
    """The recipe with run parameters on top, checked field by field."""
    for flat_name, value in parameters.items():
        recipe = recipes.with_value(recipe, flat_name, value)
    recipes.check_recipe(recipe)
    if not any(source.purpose == "problems" for source in recipe.sources):
        raise ValueError("sources has no source of problems; give one with adapter gsm8k or use problems")
    return recipe


def checked_registry(registry: str) -> Store:
    """The registry, after one object was written and deleted there; `ValueError` says what is wrong."""
    if not registry:
        raise ValueError("registry is empty; give a directory or an s3:// address that all steps can write")
    try:
        store = open_store(registry)
        store.write_json("probe/preflight.json", {"ok": True})
        store.delete_tree("probe")
    except OSError as error:
        raise ValueError(f"registry {registry!r} cannot be written: {error}") from None
    return store


def resolve(recipe: Recipe) -> Plan:
    """Fix the revision of the model and of every source."""
    return Plan(
        model=recipe.model,
        revision=_model_revision(recipe.model, recipe.revision),
        sources=tuple(_resolve_source(source) for source in recipe.sources),
        evaluation=tuple(_resolve_source(source) for source in recipe.evaluation),
        seed=recipe.seed,
    )


def fingerprint_of(recipe: Recipe, plan: Plan) -> str:
    """A hash of all that decides what a run produces: inputs at their revisions, settings, and this code."""
    settings = {k: v for k, v in asdict(recipe).items() if k not in _NOT_COMPARED}
    text = json.dumps([settings, plan.text(), code_hash()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def code_hash() -> str:
    """A hash of every Python file of this package."""
    root = Path(__file__).parents[1]
    return tree_sha256(root, "*.py")


def _outputs(checked: Checked) -> dict[str, str]:
    settings = {step: to_json(getattr(checked.recipe, step)) for step in STEPS}
    return {"merged": to_json(checked.recipe), "fingerprint": checked.fingerprint, **settings}


def _changed(store: Store, fingerprint: str, recipe: Recipe) -> tuple[bool, str]:
    champion = store.read_json(CHAMPION)
    if champion is None:
        return True, "there is no champion yet"
    if champion.get("fingerprint") != fingerprint:
        return True, f"something has changed since champion {champion['version']}"
    if recipe.always:
        return True, f"nothing has changed since champion {champion['version']}, but always is set"
    return False, f"nothing has changed since champion {champion['version']}: no run is needed"


def _model_revision(model: str, revision: str) -> str:
    if model == "tiny" or Path(model).expanduser().is_dir():
        return f"sha256:{tree_sha256(model_directory(model, revision), '*')[:16]}"
    check_hub_id(model)
    return _hub_commit("model", model, revision)


def _resolve_source(source: Source) -> Source:
    kind = kind_of(source)
    if kind == "tiny":
        return replace(source, revision=f"sha256:{sha256(Path(__file__).parents[1] / 'tiny' / 'problems.py')[:16]}")
    if kind == "s3":
        from components.s3 import object_etag

        return replace(source, revision=f"etag:{object_etag(source.path)}")
    if kind == "hub":
        return replace(source, revision=_hub_commit("dataset", source.path, source.revision))
    return pinned(source)


def _hub_commit(kind: str, repo: str, revision: str) -> str:
    """The commit that a Hub revision points at now."""
    from httpx2 import TransportError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        commit = HfApi().repo_info(repo, repo_type=kind, revision=revision).sha
    except RevisionNotFoundError:
        raise ValueError(f"{kind} {repo!r} has no revision {revision!r} on the Hub; use main or a commit") from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"{kind} {repo!r} is not on the Hub, or HF_TOKEN may not read it; check the name and the token"
        ) from None
    except (HfHubHTTPError, TransportError) as error:
        raise ValueError(f"the Hub did not answer for {kind} {repo!r}: {error}") from error
    if not commit:
        raise ValueError(f"the Hub names no commit for {kind} {repo!r} at {revision!r}")
    return commit


def _check_hub_token(repo: str) -> None:
    """Refuse a push target that the token may not write; a repository that is not there yet is fine."""
    from httpx2 import TransportError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if not os.environ.get("HF_TOKEN"):
        raise ValueError(f"push_hub_repo is {repo!r} but HF_TOKEN is not set; give a token that may write, or empty it")
    try:
        user = HfApi().whoami()
    except HfHubHTTPError as error:
        raise ValueError(f"the Hub refuses HF_TOKEN: {error}; make a new token that may write") from None
    except TransportError as error:
        raise ValueError(f"the Hub did not answer for {repo!r}: {error}; try again, or empty push_hub_repo") from None
    role = user.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise ValueError(f"HF_TOKEN may only read, but push_hub_repo is {repo!r}; make a token that may write")


def _check_disk(directory: Path) -> None:
    free_gib = shutil.disk_usage(directory).free / 2**30
    if free_gib < DISK_NEEDED_GIB:
        raise ValueError(f"only {free_gib:.1f} GiB free at {directory}; {DISK_NEEDED_GIB} GiB are needed: free some")
