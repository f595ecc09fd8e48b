"""The KFP component of standardize."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def standardize(
    registry: str, run_id: str, plan: str, settings: str,
    data: dsl.Output[dsl.Dataset], summary: dsl.Output[dsl.Markdown], page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    samples: dsl.Input[dsl.Dataset] = None,  # type: ignore[assignment]
):  # fmt: skip
    """Turn every source, and the base model's `samples` if there are any, into the files of the later steps."""
    from components.record import recorded

    with recorded(registry, run_id, "standardize", metrics) as record:
        import shutil
        from pathlib import Path

        from components.plan import Plan
        from components.schema import Standardize
        from components.settings import from_json
        from components.standardize.sources import with_sampled
        from components.standardize.standardize import standardize

        inputs = Plan.read(plan)
        if samples:
            inputs = with_sampled(inputs, Path(samples.path))
        record.numbers = standardize(plan=inputs, settings=from_json(Standardize, settings), out=Path(data.path))
        shutil.copy(Path(data.path, "summary.md"), summary.path)
        shutil.copy(Path(data.path, "summary.html"), page.path)
