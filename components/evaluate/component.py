"""The KFP component of evaluate."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAINER, install_kfp_package=False)
def evaluate(
    registry: str, run_id: str, plan: str, settings: str, checkpoint: str, data: dsl.Input[dsl.Dataset],
    items: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics],
    policy: dsl.Input[dsl.Model] = None,  # type: ignore[assignment]
):  # fmt: skip
    """Ask one checkpoint every evaluation and gate problem; `policy` is the checkpoint, the base without one."""
    from components.record import recorded

    with recorded(registry, run_id, f"evaluate-{checkpoint}", metrics) as record:
        from pathlib import Path

        from components.evaluate.evaluate import evaluate
        from components.plan import Plan
        from components.schema import Evaluate
        from components.settings import from_json

        inputs = Plan.read(plan)
        model, revision = inputs.start(policy)
        record.numbers = evaluate(
            model=model, revision=revision, checkpoint=checkpoint, data=Path(data.path), out=Path(items.path),
            seed=inputs.seed, settings=from_json(Evaluate, settings),
        )  # fmt: skip
