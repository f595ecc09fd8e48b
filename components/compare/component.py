"""The KFP component of compare."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.data(), install_kfp_package=False)
def compare(
    registry: str, run_id: str, recipe: str, data: dsl.Input[dsl.Dataset], base: dsl.Input[dsl.Dataset],
    comparison: dsl.Output[dsl.HTML], comparison_summary: dsl.Output[dsl.Markdown], results: dsl.Output[dsl.Dataset],
    scores: dsl.Output[dsl.Metrics], decision: dsl.Input[dsl.Artifact] = None,  # type: ignore[assignment]
    sft: dsl.Input[dsl.Dataset] = None, grpo: dsl.Input[dsl.Dataset] = None,  # type: ignore[assignment]
    sft_curves: dsl.Input[dsl.Dataset] = None, grpo_curves: dsl.Input[dsl.Dataset] = None,  # type: ignore[assignment]
):  # fmt: skip
    """Compare the evaluated checkpoints in one report with the gate's decision if any, kept with the rows of `data`."""
    from components.lib.registry.record import publish, read_records, recorded

    with recorded(registry, run_id, "compare", results.uri) as record:
        import shutil
        from pathlib import Path

        from components.compare.about import run_of
        from components.compare.compare import compare, headline
        from components.compare.rows import trace_rows
        from components.lib.recipe.schema import Recipe
        from components.lib.recipe.settings import from_json
        from components.lib.registry.store import open_store

        out = Path(results.path)
        evaluations = {k: Path(v.path) for k, v in {"base": base, "sft": sft, "grpo": grpo}.items() if v}
        curves = {k: Path(v.path) for k, v in {"sft": sft_curves, "grpo": grpo_curves}.items() if v}
        read, chosen, store = Path(data.path), from_json(Recipe, recipe), open_store(registry)
        run = run_of(chosen, read_records(store, run_id), read, Path(decision.path) if decision else None)
        record.numbers = compare(evaluations=evaluations, curves=curves, out=out, recipe=chosen, data=read, run=run)
        record.numbers |= trace_rows(read, store, out)
        shutil.copy(read / "summary.html", out / "data.html")
        shutil.copy(out / "report.html", comparison.path)
        shutil.copy(out / "report.md", comparison_summary.path)
        publish(registry, run_id, out)
        for name, number in headline(record.numbers, chosen).items():
            scores.log_metric(name, number)
