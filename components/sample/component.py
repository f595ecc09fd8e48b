"""The KFP component of sample."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.trainer(), install_kfp_package=False)
def sample(
    registry: str, run_id: str, plan: str, settings: str, split: str, checkpoints: str,
    samples: dsl.Output[dsl.Dataset],
):  # fmt: skip
    """Let the base model solve training problems; `split` are the settings of standardize."""
    from components.lib.registry.record import recorded

    with recorded(registry, run_id, "sample", samples.uri) as record:
        from pathlib import Path

        from components.lib.recipe.schema import Sample, Standardize
        from components.lib.recipe.settings import from_json
        from components.lib.registry.plan import Plan
        from components.sample.sample import sample

        record.numbers = sample(
            plan=Plan.read(plan), split=from_json(Standardize, split), settings=from_json(Sample, settings),
            out=Path(samples.path), checkpoints=Path(checkpoints) if checkpoints else None,
        )  # fmt: skip
