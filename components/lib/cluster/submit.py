"""The verb `submit`: start one run on a cluster and, if asked, watch it to its end."""

import time
from pathlib import Path
from typing import Any

import yaml

from components.lib.cluster.api import ENDED, accepted, arguments_of, compiled, experiment_of, quiet
from components.lib.recipe.schema import Recipe
from components.lib.registry.store import open_store

POLL_S = 5
SILENT_S = 600  # for which a server that does not answer is asked again: a port-forward that broke may come back
LOG_LINES = 20
INTERRUPTED = 130  # the exit status of a command that was ended by Ctrl-C


def submit(
    recipe: Recipe, pipeline: Any, client: Any, *, endpoint: str, namespace: str, experiment: str, run_name: str,
    service_account: str, cache: bool, wait: bool,
) -> int:  # fmt: skip
    """Start a run of `pipeline` with the recipe's parameters; returns the exit status.

    Prints the run's id and its page. With `wait`, one line for each step that starts or ends, how the run says that
    it ended, and 1 unless it succeeded. `cache` False runs every step anew.
    """
    arguments = arguments_of(recipe)
    with compiled(pipeline) as path, quiet(), accepted("the run"):
        names = step_names(path)
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
    if not wait:
        return 0
    try:
        return watch(client, run.run_id, names, recipe.registry)
    except KeyboardInterrupt:
        print(f"\nrun {run.run_id} goes on, unwatched")
        return INTERRUPTED


def watch(client: Any, run_id: str, names: dict[str, str], registry: str) -> int:
    """Print each step's start and end until the run has ended, and how it ended; 0 if it succeeded, else 1.

    Argo packs the nodes of a workflow that outgrows 1 MB, and KFP then reports no more steps: its word for how the
    run as a whole ended is right, that for the last steps may be missing.
    """
    seen: dict[str, str] = {}
    started = time.monotonic()
    while True:
        run = asked(client, run_id)
        for name, state in step_states(run, names).items():
            if seen.get(name) != state:
                print(f"[{time.monotonic() - started:5.0f} s] {name}: {state.lower()}", flush=True)
                seen[name] = state
        if run.state in ENDED:
            break
        time.sleep(POLL_S)
    print(f"run {run_id}: {run.state.lower()} after {time.monotonic() - started:.0f} s")
    failed = [name for name, state in seen.items() if state == "FAILED"]
    print("\n".join(ending(registry, run_id, failed)), flush=True)
    return 0 if run.state == "SUCCEEDED" else 1


def asked(client: Any, run_id: str) -> Any:
    """The run as KFP has it; a server that is silent for SILENT_S is a `ValueError`."""
    from kfp_server_api.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    since = time.monotonic()
    told = False
    while True:
        try:
            return client.get_run(run_id)
        except (HTTPError, ApiException) as error:
            status = getattr(error, "status", None) or 503
            if status < 500 or time.monotonic() - since > SILENT_S:
                raise ValueError(f"Kubeflow Pipelines does not tell how run {run_id} is doing: {error}") from None
            if not told:
                print(f"Kubeflow Pipelines does not answer; asking again for {SILENT_S} s", flush=True)
                told = True
            time.sleep(POLL_S)


def step_names(path: Path) -> dict[str, str]:
    """Task name -> display name of each step of a compiled pipeline, without the groups around them."""
    spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    found = spec["components"]
    dags = [spec["root"]["dag"], *(part["dag"] for part in found.values() if "dag" in part)]
    tasks = [item for dag in dags for item in dag["tasks"].items()]
    return {
        name: task["taskInfo"]["name"] for name, task in tasks if "executorLabel" in found[task["componentRef"]["name"]]
    }


def step_states(run: Any, names: dict[str, str]) -> dict[str, str]:
    """State of each step of a run by its display name, in the order in which they began."""
    details = run.run_details.task_details if run.run_details else None
    return {
        names[task.display_name]: task.state or "PENDING"
        for task in sorted(details or [], key=lambda task: str(task.create_time))
        if task.display_name in names
    }


def ending(registry: str, run_id: str, failed: list[str]) -> list[str]:
    """How a run ended, line by line, from its record in the registry; `failed` is what KFP calls failed."""
    key = f"runs/{run_id}/outcome.json"
    by_kfp = [f"failed: {', '.join(failed)}"] if failed else []
    try:
        store = open_store(registry)
        outcome = store.read_json(key)
    except (ValueError, OSError) as error:
        return [*by_kfp, f"what the run says of it, {registry}/{key}, cannot be read here: {error}"]
    if outcome is None:
        return [
            *by_kfp,
            f"it left no {store.url(key)}: look at its Pods, kubectl get pods -A -l pipeline/runid={run_id}",
        ]
    log = [f"    {line}" for line in outcome["log"][-LOG_LINES:]]
    return [*log, f"{outcome['ending']}: {outcome['sentence']}", f"record: {store.url(key)}"]
