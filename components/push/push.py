"""Publish a promoted model: its release tree to the registry and, if asked, to the Hub; then it is the champion.

The order makes it safe to stop anywhere and run again: the tree first (resumable, unreadable until whole), then
the Hub (one commit, verified before `main` sees it), and last champion.json in one atomic write.
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.plan import Plan
from components.push.release import GATE_ITEMS, build_release
from components.schema import Push, Recipe
from components.settings import from_json
from components.store import MANIFEST, Store, open_store

CHAMPION = "champion.json"


def push(
    *, model: Path, evaluation: Path, results: Path, plan: Plan, recipe: str, fingerprint: str, registry: str,
    run_id: str, settings: Push,
) -> dict[str, str]:  # fmt: skip
    """Publish `model` and make it the champion; returns "version", "location" and "url" (empty without a Hub repo).

    `model` is a save_pretrained directory, `evaluation` the directory that `evaluate` wrote of it, `results` what
    `compare` wrote, `recipe` the merged recipe as JSON. The registry gets `models/<version>/` and champion.json.
    Pushing the same run again changes nothing; a version that is already there whole is kept as it is.
    """
    store, parsed = open_store(registry), from_json(Recipe, recipe, push=settings)
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "release"
        version = build_release(
            tree, model=model, evaluation=evaluation, results=results, plan=plan, recipe=parsed,
            fingerprint=fingerprint, run_id=run_id, details=_run_details(store, run_id),
        )  # fmt: skip
        tree = _into_registry(store, version, tree)
        url = ""
        if settings.hub_repo:
            from components.push.hub import push_to_hub

            url = push_to_hub(
                tree, repo=settings.hub_repo, kind="model", private=settings.private, version=version, run_id=run_id
            )
    location = store.url(f"models/{version}")
    _crown(store, {"version": version, "run_id": run_id, "fingerprint": fingerprint, "location": location, "url": url})
    return {"version": version, "location": location, "url": url}


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


def _crown(store: Store, champion: dict[str, Any]) -> None:
    """Write champion.json unless it says the same already."""
    held = store.read_json(CHAMPION) or {}
    if {key: held.get(key) for key in champion} == champion:
        return
    items = f"models/{champion['version']}/{GATE_ITEMS}"
    promoted = datetime.now(UTC).isoformat(timespec="seconds")
    store.write_json(CHAMPION, champion | {"items": items, "promoted_at": promoted})


def _run_details(store: Store, run_id: str) -> dict[str, Any]:
    """What the run's record says of the steps before this one: seconds, and details such as the GPU."""
    from components.record import read_records

    done = [
        record
        for record in read_records(store, run_id)
        if record["outcome"] == "succeeded" and record["step"] != "push"
    ]
    return {
        "seconds": {record["step"]: record["seconds"] for record in done},
        "steps": {record["step"]: record["details"] for record in done if record.get("details")},
    }
