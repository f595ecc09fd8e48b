"""What a run deletes before it begins, by the settings `keep`; it holds the registry's lock meanwhile.

- step records, report and KFP artifacts of all but the newest `keep.runs` runs, and of all but as many of those in
  which nothing had changed; their outcome stays for good
- models and data sets but those of the champion and of the `keep.models` champions before it, half pushed ones too
- training checkpoints, and what a killed evaluation or sampling has left, that nothing has used for
  `keep.checkpoint_days` days, unless their lock is held

The champion's run, the runs that began from the same inputs (KFP's cache may have given it their artifacts), its
model, its data set, and the checkpoints that its training wrote are never deleted.
"""

import fcntl
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from components.lib.place import LOCK
from components.lib.recipe.schema import STAGES, Keep
from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.outcome import Outcome, read_outcomes, write_outcome
from components.lib.registry.store import open_store

TREES = ("models", "datasets")
DAY_S = 86_400
_PLACE = re.compile(rf"({'|'.join((*STAGES, 'sample', 'evaluate'))})-\w+")  # see lib/place.py


def clean(store: Store, keep: Keep, checkpoints: str, now: float) -> list[str]:
    """Delete what `keep` does not keep at the moment `now` (seconds since the epoch); returns what went, in words.

    What cannot be deleted is told and left: it must not keep a run from beginning.
    """
    champion = read_champion(store)
    outcomes = read_outcomes(store)
    found = [*_runs(store, outcomes, champion, keep), *_trees(store, champion, keep)]
    found += [f"{count} unfinished files" for count in [store.sweep()] if count]
    if checkpoints and Path(checkpoints).is_dir():
        found += _checkpoints(Path(checkpoints), outcomes, champion, now - keep.checkpoint_days * DAY_S)
    return found


def kept_versions(champion: dict[str, Any], models: int) -> list[dict[str, Any]]:
    """The champion and so many before it, the newest first; empty without a champion."""
    return [champion, *reversed(champion.get("former", []))][: models + 1] if champion else []


def _runs(store: Store, outcomes: list[Outcome], champion: dict[str, Any], keep: Keep) -> Iterator[str]:
    """Clean the old runs; those in which nothing had changed are counted by themselves."""
    kept, root = _kept(outcomes, champion, keep), _artifacts_of_all(outcomes)
    for outcome in outcomes:
        if outcome.run_id in kept or outcome.cleaned:
            continue
        gone = sum(store.delete_tree(f"runs/{outcome.run_id}/{part}") for part in ("record", "results"))
        if _delete_artifacts(store, outcome, outcome.artifacts or (root and f"{root}/{outcome.run_id}")):
            write_outcome(store, replace(outcome, cleaned=True))
            yield f"records and artifacts of run {outcome.run_id}"
        elif gone:
            yield f"records of run {outcome.run_id}"


def _kept(outcomes: list[Outcome], champion: dict[str, Any], keep: Keep) -> set[str]:
    """The runs that stay: the newest ones, the champion's, and those whose artifacts it may have from the cache."""
    worked = [outcome for outcome in outcomes if outcome.ending != "no-change"]
    idle = [outcome for outcome in outcomes if outcome.ending == "no-change"]
    of_the_champion = {o.inputs for o in outcomes if o.run_id == champion.get("run_id")} - {""}
    cached = [outcome for outcome in worked if outcome.inputs in of_the_champion]
    found = {outcome.run_id for outcome in (*worked[-keep.runs :], *idle[-keep.runs :], *cached)}
    return found | {champion.get("run_id", "")}


def _artifacts_of_all(outcomes: list[Outcome]) -> str:
    """Where a cluster keeps the artifacts of all runs; a run that ended in preflight could not tell."""
    for outcome in reversed(outcomes):
        home = outcome.artifacts.removesuffix(f"/{outcome.run_id}")
        if home != outcome.artifacts:
            return home
    return ""


def _delete_artifacts(store: Store, outcome: Outcome, place: str) -> bool:
    """Delete what KFP keeps of a run in `place`, empty if nobody knows; False if that is to be tried again.

    Of buckets only the registry's is known to be at S3_ENDPOINT; what lies elsewhere stays.
    """
    place = place.replace("minio://", "s3://", 1)
    try:
        if _bucket(place) and _bucket(place) == _bucket(store.url("")):
            artifacts = open_store(place)
            for key in artifacts.keys(""):
                artifacts.delete(key)
        elif Path(place).name.startswith("grpo-pipeline-") and "://" not in place:
            shutil.rmtree(place, ignore_errors=not Path(place).exists())
        elif place:
            print(f"the artifacts of run {outcome.run_id} stay: nothing here can delete {place}", flush=True)
    except (OSError, ValueError) as error:
        print(f"the artifacts of run {outcome.run_id} cannot be deleted: {error}", flush=True)
        return False
    return True


def _bucket(address: str) -> str:
    """The bucket of an s3:// address, empty for any other place."""
    return address.removeprefix("s3://").partition("/")[0] if address.startswith("s3://") else ""


def _trees(store: Store, champion: dict[str, Any], keep: Keep) -> Iterator[str]:
    """Delete the models and data sets that no kept champion has; without a champion nothing is known of any."""
    if not champion:
        return
    kept = kept_versions(champion, keep.models)
    names = {"models": {entry["version"] for entry in kept}, "datasets": {entry.get("data", "") for entry in kept}}
    for kind in TREES:
        for name in sorted({key.split("/")[1] for key in store.keys(kind)} - names[kind]):
            store.delete_tree(f"{kind}/{name}")
            yield f"{kind}/{name}"


def _checkpoints(root: Path, outcomes: list[Outcome], champion: dict[str, Any], oldest: float) -> Iterator[str]:
    """Delete the directories `<step>-<key>` whose newest file is older than `oldest`."""
    run = next((outcome for outcome in outcomes if outcome.run_id == champion.get("run_id")), None)
    window = (_seconds(run.started), _seconds(run.ended)) if run else (0.0, -1.0)
    for place in sorted(path for path in root.iterdir() if path.is_dir() and _PLACE.fullmatch(path.name)):
        times = [path.stat().st_mtime for path in place.rglob("*") if path.is_file()]
        if max(times, default=place.stat().st_mtime) >= oldest or any(window[0] <= t <= window[1] for t in times):
            continue
        try:
            with _free(place / LOCK) as free:
                if free:
                    shutil.rmtree(place)
                    yield f"checkpoints {place.name}"
        except OSError as error:
            print(f"{place} cannot be deleted: {error}", flush=True)


@contextmanager
def _free(lock: Path) -> Iterator[bool]:
    """Whether no training holds a lock file; none may take it while the block runs."""
    if not lock.exists():
        yield True
        return
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
