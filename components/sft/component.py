"""The KFP component of sft."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.trainer(), install_kfp_package=False)
def sft(
    registry: str, run_id: str, plan: str, settings: str, training: str, scale: str, trainjob: str,
    checkpoints: str, data: dsl.Input[dsl.Dataset], sft_model: dsl.Output[dsl.Model],
    sft_curves: dsl.Output[dsl.Dataset],
):  # fmt: skip
    """Warm the base model up on worked conversations."""
    from components.lib.registry.record import recorded

    with recorded(registry, run_id, "sft", sft_curves.uri) as record:
        from pathlib import Path

        from components.lib.cluster.trainjob import launcher
        from components.lib.files import read_json
        from components.lib.machine import MACHINE
        from components.lib.recipe.schema import Scale, Sft, Training
        from components.lib.recipe.settings import from_json
        from components.lib.registry.plan import Plan
        from components.lib.training.supervise import train

        inputs = Plan.read(plan)
        start, revision = inputs.start(None)
        record.numbers = train(
            stage="sft", model=start, revision=revision, data=Path(data.path), model_out=Path(sft_model.path),
            curves_out=Path(sft_curves.path), checkpoints=Path(checkpoints) if checkpoints else None, seed=inputs.seed,
            settings=from_json(Sft, settings), training=from_json(Training, training), scale=from_json(Scale, scale),
            work=launcher(trainjob),
        )  # fmt: skip
        record.machine = read_json(Path(sft_curves.path) / MACHINE)
