"""The verb `submit`: start one run on a cluster and, if asked, watch it to its end."""

import time
from typing import Any

from components.lib.cluster.api import accepted, arguments_of, compiled, experiment_of, quiet
from components.lib.cluster.watch import patiently, watch
from components.lib.recipe.schema import Recipe


def submit(
    recipe: Recipe, pipeline: Any, client: Any, *, endpoint: str, namespace: str, experiment: str, run_name: str,
    service_account: str, cache: bool, wait: bool,
) -> int:  # fmt: skip
    """Start a run of `pipeline` with the recipe's parameters; returns the exit status.

    Prints the run's id and its page. With `wait`, what the run does until its end, and 1 unless it ended well. `cache`
    False runs every step anew.
    """
    arguments = arguments_of(recipe)
    with compiled(pipeline) as path, quiet(), accepted("the run"):
        run = client.run_pipeline(
            experiment_id=experiment_of(client, experiment, namespace),
            job_name=run_name or f"{recipe.name} {time.strftime('%Y-%m-%d %H:%M:%S')}",
            pipeline_package_path=str(path),
            params=arguments,
            enable_caching=None if cache else False,
            service_account=service_account,
        )
    print(f"run {run.display_name}: {run.run_id}")
    print(f"page: {endpoint}/#/runs/details/{run.run_id}", flush=True)
    return watch(client, endpoint, namespace, run.run_id) if wait else 0


def newest_runs(client: Any, experiment: str, namespace: str) -> dict[str, Any]:
    """Name -> the newest run of that name in an experiment, which is made if there is none."""
    experiment_id = experiment_of(client, experiment, namespace)
    found: dict[str, Any] = {}
    token = ""
    while True:
        page = patiently(
            lambda token=token: client.list_runs(  # type: ignore[misc]
                page_token=token, page_size=100, sort_by="created_at desc", experiment_id=experiment_id
            ),
            f"which runs experiment {experiment} has",
        )
        for run in page.runs or []:
            found.setdefault(run.display_name, run)
        if not (token := page.next_page_token or ""):
            return found
