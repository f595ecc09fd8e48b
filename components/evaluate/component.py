"""The KFP component of evaluate."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.trainer(), install_kfp_package=False)
def evaluate(
    registry: str, run_id: str, plan: str, settings: str, checkpoint: str, champion: str, checkpoints: str,
    data: dsl.Input[dsl.Dataset], items: dsl.Output[dsl.Dataset],
    policy: dsl.Input[dsl.Model] = None,  # type: ignore[assignment]
):  # fmt: skip
    """Ask one checkpoint every evaluation and gate problem; `policy` is the checkpoint, the base without one.

    `champion` is the version that the checkpoint will have to beat, empty if there is none or it is not a candidate.
    """
    from components.lib.registry.record import recorded

    with recorded(registry, run_id, f"evaluate-{checkpoint}", items.uri) as record:
        from functools import partial
        from pathlib import Path
        from typing import Any

        from components.evaluate.champion import measure_champion
        from components.evaluate.evaluate import decisive, evaluate
        from components.lib.place import once
        from components.lib.recipe.schema import Evaluate
        from components.lib.recipe.settings import from_json
        from components.lib.registry.plan import Plan

        inputs = Plan.read(plan)
        model, revision = inputs.start(policy)
        out, asked, files = Path(items.path), from_json(Evaluate, settings), Path(data.path)
        place = Path(checkpoints) if checkpoints else None

        measured = partial(
            measure_champion, version=champion, registry=record.registry, candidate=out, data=files, checkpoints=place,
            seed=inputs.seed, settings=asked,
        )  # fmt: skip
        work: dict[str, Any] = {
            "model": model, "revision": revision, "checkpoint": checkpoint, "data": files, "seed": inputs.seed,
            "data_seed": inputs.rows_seed, "settings": asked,
        }  # fmt: skip
        make = partial(evaluate, **work, out=out, checkpoints=place, after=measured if champion else dict)
        record.numbers = once("evaluate", partial(decisive, **work), out, make)
