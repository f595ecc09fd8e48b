"""Publish a promoted model: its release tree to the registry and, if asked, to the Hub; then it is the champion.

The order makes it safe to stop anywhere and run again: the SFT data set first, then the model's tree (resumable,
unreadable until whole), then the Hub (one commit, verified before `main` sees it), and last the champion, in one
write that fails if the registry's lock is not ours any more.
"""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.lib.files import read_object
from components.lib.recipe.schema import Push, Recipe
from components.lib.recipe.settings import from_json
from components.lib.registry import lock
from components.lib.registry.base import MANIFEST, Store
from components.lib.registry.champion import read_champion
from components.lib.registry.plan import Plan
from components.lib.registry.store import open_store
from components.push.dataset import push_dataset
from components.push.origin import origin_of
from components.push.public import called, public, public_settings
from components.push.release import GATE_ITEMS, build_release


def push(
    *, model: Path, evaluation: Path, results: Path, data: Path | None, decision: Path | None, plan: Plan, recipe: str,
    fingerprint: str, registry: str, run_id: str, settings: Push, by_hand: bool,
) -> dict[str, str]:  # fmt: skip
    """Publish `model` and make it the champion; returns "version", "location", "url" and "data".

    `model` is a save_pretrained directory, `evaluation` the directory that `evaluate` wrote of it, `results` what
    `compare` wrote, `data` what `standardize` wrote, `decision` the gate's, `recipe` the merged recipe as JSON. The
    registry gets `models/<version>/`, with `data` also `datasets/<version>/`, and the champion; "url" is empty
    without a Hub repo, "data" is the data set's version, empty if none is pushed. Pushing the same run again changes
    nothing; a version that is already there whole is kept as it is. The registry's lock must be the run's, or, for a
    push `by_hand`, is taken while it lasts. `ValueError` if another run holds it.
    """
    store, parsed = open_store(registry), from_json(Recipe, recipe, push=settings)
    timeout_s = parsed.lock_timeout_s if by_hand else None
    with tempfile.TemporaryDirectory() as directory, _owned(store, run_id, timeout_s) as holder:
        names = called(plan, parsed)
        plan, parsed = public_settings(plan, names), public_settings(parsed, names)
        origin = public(origin_of(store, run_id, fingerprint, parsed.stages), names)
        origin["decision"] = public(read_object(decision), names) if decision else None
        published = {"version": "", "url": ""}
        if data and parsed.pushes_data:
            published = push_dataset(data=data, plan=plan, registry=registry, run_id=run_id, recipe=parsed)
        origin["data"] = published["version"]
        tree = Path(directory) / "release"
        version = build_release(
            tree, model=model, evaluation=evaluation, results=results, plan=plan, recipe=parsed,
            fingerprint=fingerprint, run_id=run_id, origin=origin, data_url=published["url"],
        )  # fmt: skip
        tree = _into_registry(store, version, tree)
        lock.check(store, holder)
        url = _to_hub(tree, version, run_id, settings) if settings.hub_repo else ""
        location = store.url(f"models/{version}")
        entry = {"version": version, "run_id": run_id, "fingerprint": fingerprint, "location": location, "url": url}
        _make_champion(store, holder, {**entry, "data": published["version"]})
    return {"version": version, "location": location, "url": url, "data": published["version"]}


@contextmanager
def _owned(store: Store, run_id: str, timeout_s: int | None) -> Iterator[str]:
    """Hold the registry's lock; yields under which id.

    Without `timeout_s` it is the run's own, which it must have still: the champion may have changed since its gate.
    With it, one of this push alone: the run's may be taken over as soon as it has ended.
    """
    if timeout_s is None:
        lock.check(store, run_id)
        yield run_id
        return
    holder = f"{run_id}-push-{secrets.token_hex(3)}"
    lock.take(store, holder, timeout_s)
    try:
        yield holder
    finally:
        lock.release(store, holder)


def _to_hub(tree: Path, version: str, run_id: str, settings: Push) -> str:
    from components.push.hub import push_to_hub

    return push_to_hub(
        tree, repo=settings.hub_repo, kind="model", private=settings.private, version=version, run_id=run_id
    )


def _into_registry(store: Store, version: str, tree: Path) -> Path:
    """Put the tree under models/<version>; returns the tree that the registry now holds, for the Hub.

    If another push has finished this version before, its files stay and are fetched.
    """
    prefix = f"models/{version}"
    if store.read_json(f"{prefix}/{MANIFEST}") is None:
        store.put_tree(prefix, tree)
        print(f"{version} is in the registry: {store.url(prefix)}", flush=True)
        return tree
    print(f"{version} was in the registry already: {store.url(prefix)}", flush=True)
    held = tree.with_name("held")
    store.get_tree(prefix, held)
    return held


def _make_champion(store: Store, holder: str, champion: dict[str, Any]) -> None:
    """Name the champion unless it is the same already; the champions before it stay in `former`."""
    held = read_champion(store)
    if {key: held.get(key) for key in champion} == champion:
        return
    former = held.pop("former", []) + ([held] if held else [])
    value = champion | {
        "items": f"models/{champion['version']}/{GATE_ITEMS}",
        "promoted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "former": [entry for entry in former if entry["version"] != champion["version"]],
    }
    lock.crown(store, holder, value)
