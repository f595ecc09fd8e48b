"""The KFP component of standardize."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.data(), install_kfp_package=False)
def standardize(
    registry: str, run_id: str, plan: str, settings: str,
    data: dsl.Output[dsl.Dataset], data_summary: dsl.Output[dsl.Markdown], data_page: dsl.Output[dsl.HTML],
    samples: dsl.Input[dsl.Dataset] = None,  # type: ignore[assignment]
):  # fmt: skip
    """Turn every source, and the base model's `samples` if there are any, into the files of the later steps."""
    from components.lib.registry.record import recorded

    with recorded(registry, run_id, "standardize", data.uri) as record:
        import shutil
        from functools import partial
        from pathlib import Path

        from components.lib.data.sources import with_sampled
        from components.lib.place import once
        from components.lib.recipe.schema import Standardize
        from components.lib.recipe.settings import from_json
        from components.lib.registry.plan import Plan
        from components.standardize.standardize import decisive, standardize

        inputs = Plan.read(plan)
        if samples:
            inputs = with_sampled(inputs, Path(samples.path))
        asked, out = from_json(Standardize, settings), Path(data.path)
        make = partial(standardize, plan=inputs, settings=asked, out=out)
        record.numbers = once("standardize", partial(decisive, inputs, asked), out, make)
        shutil.copy(out / "summary.md", data_summary.path)
        shutil.copy(out / "summary.html", data_page.path)
