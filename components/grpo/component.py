"""The KFP component of grpo."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.trainer(), install_kfp_package=False)
def grpo(
    registry: str, run_id: str, plan: str, settings: str, training: str, scale: str, trainjob: str,
    checkpoints: str, gate_candidate: str, data: dsl.Input[dsl.Dataset], grpo_model: dsl.Output[dsl.Model],
    grpo_curves: dsl.Output[dsl.Dataset],
    policy: dsl.Input[dsl.Model] = None,  # type: ignore[assignment]
):  # fmt: skip
    """Improve `policy`, or the base without one, by group-relative reward on verifiable problems."""
    from components.lib.registry.record import recorded

    with recorded(registry, run_id, "grpo", grpo_curves.uri) as record:
        from pathlib import Path

        from components.lib.cluster.trainjob import launcher
        from components.lib.files import read_json
        from components.lib.machine import MACHINE
        from components.lib.recipe.schema import Grpo, Scale, Training
        from components.lib.recipe.settings import from_json
        from components.lib.registry.plan import Plan
        from components.lib.training.supervise import train

        inputs = Plan.read(plan)
        start, revision = inputs.start(policy)
        record.numbers = train(
            stage="grpo", model=start, revision=revision, data=Path(data.path), model_out=Path(grpo_model.path),
            curves_out=Path(grpo_curves.path), checkpoints=Path(checkpoints) if checkpoints else None, seed=inputs.seed,
            settings=from_json(Grpo, settings), training=from_json(Training, training), scale=from_json(Scale, scale),
            gate_candidate=gate_candidate, work=launcher(trainjob),
        )  # fmt: skip
        record.machine = read_json(Path(grpo_curves.path) / MACHINE)
