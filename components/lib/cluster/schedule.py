"""The verb `schedule`: recurring runs on a cluster, one at a time and without catching up on missed ones."""

from collections.abc import Callable, Iterator
from typing import Any

from components.lib.cluster.api import ENDED, accepted, arguments_of, compiled, experiment_of
from components.lib.recipe.schema import Recipe

PAGE = 50


def create(
    recipe: Recipe, pipeline: Any, client: Any, *, name: str, expression: str, experiment: str, namespace: str,
    service_account: str, force: bool,
) -> str:  # fmt: skip
    """Make the recurring run `name`, replace the one that had the name before, and return its id.

    `force` replaces a schedule whose run is working, see `delete`. `ValueError` if the server refuses it, as an
    expression that its scheduler cannot read.
    """
    cron, arguments = six_fields(expression), arguments_of(recipe)
    before = [job for job in jobs(client, namespace) if job.display_name == name]
    for old in before:
        _refuse_while_working(client, namespace, old, force)
    with compiled(pipeline) as path, accepted(f"the schedule {name} with cron {cron!r}"):
        job = client.create_recurring_run(
            experiment_id=experiment_of(client, experiment, namespace), job_name=name, cron_expression=cron,
            max_concurrency=1, no_catchup=True, params=arguments, pipeline_package_path=str(path), enabled=True,
            service_account=service_account,
        )  # fmt: skip
    for old in before:
        client.delete_recurring_run(old.recurring_run_id)
    print(f"schedule {name}: {job.recurring_run_id}{', in place of the one before' if before else ''}")
    return job.recurring_run_id


def six_fields(expression: str) -> str:
    """A cron expression as KFP's scheduler reads it, seconds first: 0 in front of five fields.

    Six are passed on as they are, since the server checks them; `ValueError` for any other number.
    """
    fields = expression.split()
    if len(fields) not in (5, 6):
        raise ValueError(
            f"cron {expression!r} has {len(fields)} fields; write 5 (minute hour day month weekday) or 6 with seconds "
            "first"
        )
    return " ".join(fields if len(fields) == 6 else ["0", *fields])


def show(client: Any, namespace: str) -> None:
    """Print every recurring run with its expression and state."""
    found = list(jobs(client, namespace))
    for job in found:
        expression = job.trigger.cron_schedule.cron if job.trigger and job.trigger.cron_schedule else ""
        print(f"{job.display_name}: {expression or 'by interval'}, {'on' if job.status == 'ENABLED' else 'paused'}")
    if not found:
        print("there are no schedules")


def switch(client: Any, namespace: str, name: str, on: bool) -> None:
    """Let a schedule fire, or stop it from firing; runs that have begun go on."""
    change = client.enable_recurring_run if on else client.disable_recurring_run
    change(_find(client, namespace, name).recurring_run_id)
    print(f"schedule {name} is {'on' if on else 'paused'}")


def delete(client: Any, namespace: str, name: str, force: bool) -> None:
    """Remove a schedule. With it Kubernetes removes the workflows and Pods of its runs; what they made stays.

    So a run that is working would die without its exit handler, and stay RUNNING in KFP's list for good: that is a
    `ValueError` unless `force`.
    """
    job = _find(client, namespace, name)
    _refuse_while_working(client, namespace, job, force)
    client.delete_recurring_run(job.recurring_run_id)
    print(f"schedule {name} is deleted")


def jobs(client: Any, namespace: str) -> Iterator[Any]:
    """Every recurring run of a namespace."""
    yield from _all(client.list_recurring_runs, "recurring_runs", namespace)


def _all(listed: Callable[..., Any], field: str, namespace: str) -> Iterator[Any]:
    """What one of KFP's lists holds, page by page."""
    token = ""
    while True:
        page = listed(page_token=token, page_size=PAGE, namespace=namespace)
        yield from getattr(page, field) or []
        token = page.next_page_token or ""
        if not token:
            return


def _refuse_while_working(client: Any, namespace: str, job: Any, force: bool) -> None:
    for run in () if force else _all(client.list_runs, "runs", namespace):
        if run.recurring_run_id == job.recurring_run_id and run.state not in ENDED:
            raise ValueError(
                f"run {run.run_id} of schedule {job.display_name} is working and would be killed with it; wait for its "
                "end (`schedule pause` keeps it from firing again), or add --force"
            )


def _find(client: Any, namespace: str, name: str) -> Any:
    for job in jobs(client, namespace):
        if job.display_name == name:
            return job
    raise ValueError(f"there is no schedule {name!r}; `pipeline.py schedule list` shows what there is")
