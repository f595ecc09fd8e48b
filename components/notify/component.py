"""The KFP component of the exit handler."""

from kfp import dsl

from components.lib.cluster import images


@dsl.component(base_image=images.data(), install_kfp_package=False)
def notify(registry: str, run_id: str, settings: str, status: dsl.PipelineTaskFinalStatus):
    """Say how the run ended: log line, JSON in the registry, webhook."""
    from components.lib.recipe.schema import Notify
    from components.lib.recipe.settings import from_json
    from components.notify.notify import report

    report(state=status.state, registry=registry, run_id=run_id, settings=from_json(Notify, settings))
