"""The KFP component of compare."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.data(), install_kfp_package=False)
def compare(
    registry: str, run_id: str, settings: str, data: dsl.Input[dsl.Dataset], base: dsl.Input[dsl.Dataset],
    report: dsl.Output[dsl.HTML], summary: dsl.Output[dsl.Markdown], results: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    sft: dsl.Input[dsl.Dataset] = None, grpo: dsl.Input[dsl.Dataset] = None,  # type: ignore[assignment]
    sft_curves: dsl.Input[dsl.Dataset] = None, grpo_curves: dsl.Input[dsl.Dataset] = None,  # type: ignore[assignment]
):  # fmt: skip
    """Compare the evaluated checkpoints in one report, and keep it with the list of the rows in `data`."""
    from components.lib.registry.record import publish, recorded

    with recorded(registry, run_id, "compare", metrics) as record:
        import shutil
        from pathlib import Path

        from components.compare.compare import compare
        from components.compare.rows import trace_rows
        from components.lib.recipe.schema import Compare
        from components.lib.recipe.settings import from_json
        from components.lib.registry.store import open_store

        out = Path(results.path)
        evaluations = {k: Path(v.path) for k, v in {"base": base, "sft": sft, "grpo": grpo}.items() if v}
        curves = {k: Path(v.path) for k, v in {"sft": sft_curves, "grpo": grpo_curves}.items() if v}
        read, parameters = Path(data.path), from_json(Compare, settings)
        record.numbers = compare(evaluations=evaluations, curves=curves, out=out, settings=parameters, data=read)
        record.numbers |= trace_rows(read, open_store(registry), out)
        shutil.copy(out / "report.html", report.path)
        shutil.copy(out / "report.md", summary.path)
        publish(registry, run_id, out)
