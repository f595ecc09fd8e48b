"""Whether a run can write where it will: the places that it fills must have room, and locks for its trainings."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from components.lib import inside
from components.lib.files import expanded
from components.lib.model.names import from_hub
from components.lib.place import contents
from components.lib.recipe.schema import Recipe
from components.lib.registry.plan import Plan

NEEDED_GIB = 2  # on each volume


def check_room(recipe: Recipe, plan: Plan, artifacts: Path | None) -> None:
    """Refuse a run one of whose volumes is nearly full.

    `artifacts` is where KFP keeps what steps write, if it is known. What another Pod mounts and this one does not, and
    buckets, cannot be looked at, which is printed. `ValueError` names the place and what to do.
    """
    volumes: dict[int, dict[str, Path]] = {}
    for name, path in _places(recipe, plan, artifacts):
        if inside.is_elsewhere(path):
            print(f"{name} {path} is not mounted here: its room is not looked at", flush=True)
            continue
        there = _existing(path)
        volumes.setdefault(there.stat().st_dev, {})[name] = there
    for places in volumes.values():
        free_gib = shutil.disk_usage(next(iter(places.values()))).free / 2**30
        if free_gib < NEEDED_GIB:
            named = " and ".join(f"{name} ({path})" for name, path in places.items())
            held = f"; {contents(places['checkpoints'])}" if "checkpoints" in places else ""
            raise ValueError(f"only {free_gib:.1f} GiB free for {named}; {NEEDED_GIB} GiB are needed: free some{held}")


def _places(recipe: Recipe, plan: Plan, artifacts: Path | None) -> Iterator[tuple[str, Path]]:
    """What a run fills, by the setting that names it."""
    if "://" in recipe.registry:
        print(f"registry {recipe.registry}: a bucket's room is not looked at", flush=True)
    else:
        yield "registry", expanded(recipe.registry).absolute()
    if recipe.checkpoints:
        yield "checkpoints", expanded(recipe.checkpoints).absolute()
    if artifacts:
        yield "artifacts", artifacts.absolute()
    inputs = [(plan.model, plan.revision), *((s.path, s.revision) for s in (*plan.sources, *plan.evaluation))]
    if any(from_hub(name, revision) for name, revision in inputs):
        from huggingface_hub.constants import HF_HUB_CACHE

        yield "HF_HOME", Path(HF_HUB_CACHE).absolute()


def check_locks(checkpoints: Path) -> None:
    """Refuse a folder of checkpoints that cannot be written or has no locks: two runs could train into one."""
    if inside.is_elsewhere(checkpoints):
        return
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=checkpoints) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ValueError(
                    f"checkpoints {str(checkpoints)!r} cannot be locked ({os.strerror(error.errno or 0)}); put them on "
                    "a file system with flock"
                ) from None
    except OSError as error:
        raise ValueError(f"checkpoints {str(checkpoints)!r} cannot be written: {error}; name another folder") from None


def _existing(path: Path) -> Path:
    """A path, or what there is of it."""
    return next(place for place in (path, *path.parents) if place.exists())
