"""The KFP component of push."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.data(), install_kfp_package=False)
def push(
    registry: str, run_id: str, plan: str, recipe: str, fingerprint: str, settings: str, model: dsl.Input[dsl.Model],
    candidate: dsl.Input[dsl.Dataset], results: dsl.Input[dsl.Dataset], data: dsl.Input[dsl.Dataset],
    decision: dsl.Input[dsl.Artifact], pushed: dsl.Output[dsl.Artifact],
):  # fmt: skip
    """Publish the promoted model and its SFT data with cards and provenance, and make it the champion."""
    from components.lib.registry.record import recorded

    with recorded(registry, run_id, "push", pushed.uri) as record:
        from pathlib import Path

        from components.lib.files import write_json
        from components.lib.recipe.schema import Push
        from components.lib.recipe.settings import from_json
        from components.lib.registry.plan import Plan
        from components.push.push import push
        from components.push.register import register

        record.details = push(
            model=Path(model.path), evaluation=Path(candidate.path), results=Path(results.path), data=Path(data.path),
            decision=Path(decision.path), plan=Plan.read(plan), recipe=recipe, fingerprint=fingerprint,
            registry=registry, run_id=run_id, settings=from_json(Push, settings), by_hand=False,
        )  # fmt: skip
        record.details |= register(registry, record.details, from_json(Push, settings).model_registry)
        record.result = f"version {record.details['version']} is the champion: {record.details['location']}"
        write_json(Path(pushed.path), record.details)
