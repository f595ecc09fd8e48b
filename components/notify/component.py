"""The KFP component of the exit handler."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.data(), install_kfp_package=False)
def notify(
    registry: str, run_id: str, settings: str, status: dsl.PipelineTaskFinalStatus,
    report: dsl.Output[dsl.HTML], outcome: dsl.Output[dsl.Markdown],
):  # fmt: skip
    """Say how the run ended: log line, JSON in the registry, webhook; then as two pages of this step."""
    from pathlib import Path

    from components.lib.recipe.schema import Notify
    from components.lib.recipe.settings import from_json
    from components.notify.notify import report as tell
    from components.notify.pages import write_pages

    told = tell(state=status.state, registry=registry, run_id=run_id, settings=from_json(Notify, settings))
    write_pages(told, registry, report=Path(report.path), outcome=Path(outcome.path))
