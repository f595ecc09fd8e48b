"""The verb `submit`: start one run on a cluster and, if asked, watch it."""

import re
import sys
import time
from typing import Any

from components.cluster.api import arguments_of, compiled, connect, experiment_of, quiet
from components.schema import Recipe

POLL_S = 5
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
# KFP's own nodes: attempts as `sft(0)`, Pods and drivers, the groups of the DAG.
_INNER = re.compile(r".*\)|.*-driver|root|executor|(condition|exit-handler|grpo-pipeline)-.*")


def submit(
    recipe: Recipe, pipeline: Any, *, endpoint: str, namespace: str, experiment: str, run_name: str,
    service_account: str, cache: bool, wait: bool,
) -> int:  # fmt: skip
    """Start a run of `pipeline` with the recipe's parameters; returns the exit status.

    Prints the run's id and its page. With `wait`, one line for each step that starts or ends, and 1 unless the
    run succeeded. `cache` False runs every step anew.
    """
    arguments = arguments_of(recipe)
    client = connect(endpoint, namespace)
    with compiled(pipeline) as path, quiet():
        run = client.run_pipeline(
            experiment_id=experiment_of(client, experiment, namespace),
            job_name=run_name or f"{recipe.name} {time.strftime('%Y-%m-%d %H:%M:%S')}",
            pipeline_package_path=str(path),
            params=arguments,
            enable_caching=None if cache else False,
            service_account=service_account or None,
        )
    print(f"run {run.display_name}: {run.run_id}")
    print(f"page: {endpoint}/#/runs/details/{run.run_id}", flush=True)
    return watch(client, run.run_id) if wait else 0


def watch(client: Any, run_id: str) -> int:
    """Print each step's start and end until the run has ended; 0 if it succeeded, else 1 and what failed."""
    seen: dict[str, str] = {}
    started = time.time()
    while True:
        run = client.get_run(run_id)
        for name, state in step_states(run).items():
            if seen.get(name) != state:
                print(f"[{time.time() - started:5.0f} s] {name}: {state.lower()}", flush=True)
                seen[name] = state
        if run.state in ENDED:
            break
        time.sleep(POLL_S)
    print(f"run {run_id}: {run.state.lower()} after {time.time() - started:.0f} s", flush=True)
    if run.state == "SUCCEEDED":
        return 0
    failed = sorted(name for name, state in seen.items() if state == "FAILED")
    print(f"failed: {', '.join(failed) or 'no step; see the Pods of the run'}", file=sys.stderr)
    return 1


def step_states(run: Any) -> dict[str, str]:
    """State of each step of a run by its name, without KFP's own drivers."""
    details = run.run_details.task_details if run.run_details else None
    return {
        task.display_name: task.state or "PENDING"
        for task in sorted(details or [], key=lambda task: str(task.create_time))
        if task.display_name and not _INNER.fullmatch(task.display_name)
    }
