"""The verb `schedule`: recurring runs on a cluster, one at a time and without catching up on missed ones."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from components.lib.cluster import cron
from components.lib.cluster.api import ENDED, arguments_of, compiled, experiment_of, only
from components.lib.recipe.schema import Recipe

SHOWN = 3  # firings
PAGE = 50


def create(
    recipe: Recipe, pipeline: Any, client: Any, *, name: str, expression: str, zone: str, experiment: str,
    namespace: str, service_account: str, force: bool,
) -> str:  # fmt: skip
    """Make the recurring run `name`, replace the one that had the name before, and return its id.

    `zone` is the time zone by which the cluster's scheduler works (CRON_SCHEDULE_TIMEZONE, the same for all).
    `force` replaces a schedule whose run is working, see `delete`.
    """
    parsed = cron.parse(expression)
    place = zone_of(zone)
    if next(parsed.after(datetime.now(UTC), place), None) is None:
        raise ValueError(f"cron {expression!r} never fires within five years; check day and month")
    arguments = arguments_of(recipe)
    before = [job for job in jobs(client, namespace) if job.display_name == name]
    for old in before:
        _refuse_while_working(client, namespace, old, force)
    with compiled(pipeline) as path:
        job = client.create_recurring_run(
            experiment_id=experiment_of(client, experiment, namespace),
            job_name=name,
            cron_expression=parsed.text,
            max_concurrency=1,
            no_catchup=True,
            params=arguments,
            pipeline_package_path=str(path),
            enabled=True,
            service_account=service_account or None,
        )
    for old in before:
        client.delete_recurring_run(old.recurring_run_id)
    print(f"schedule {name}: {job.recurring_run_id}{', in place of the one before' if before else ''}")
    print("\n".join(firings(parsed, place)))
    return job.recurring_run_id


def show(client: Any, namespace: str, zone: str) -> None:
    """Print every recurring run with its expression, state and next firing."""
    found = list(jobs(client, namespace))
    for job in found:
        expression = job.trigger.cron_schedule.cron if job.trigger and job.trigger.cron_schedule else ""
        state = "on" if job.status == "ENABLED" else "paused"
        print(f"{job.display_name}: {expression or 'by interval'}, {state}")
        if expression and state == "on":
            print(*_next(expression, zone_of(zone)), sep="\n")
    if not found:
        print("there are no schedules")


def pause(client: Any, namespace: str, name: str) -> None:
    """Stop a schedule from firing; runs that have begun go on."""
    client.disable_recurring_run(_find(client, namespace, name).recurring_run_id)
    print(f"schedule {name} is paused")


def resume(client: Any, namespace: str, name: str) -> None:
    """Let a paused schedule fire again."""
    client.enable_recurring_run(_find(client, namespace, name).recurring_run_id)
    print(f"schedule {name} is on")


def delete(client: Any, namespace: str, name: str, force: bool) -> None:
    """Remove a schedule. With it Kubernetes removes the workflows and Pods of its runs; what they made stays.

    So a run that is working would die without its exit handler, and stay RUNNING in KFP's list for good: that is a
    `ValueError` unless `force`.
    """
    job = _find(client, namespace, name)
    _refuse_while_working(client, namespace, job, force)
    client.delete_recurring_run(job.recurring_run_id)
    print(f"schedule {name} is deleted")


def firings(parsed: cron.Cron, zone: Any) -> list[str]:
    """The next firings, one line each, in UTC and in this machine's time."""
    moments = islice(parsed.after(datetime.now(UTC), zone), SHOWN)
    return [
        f"  next: {m.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {m.astimezone():%Y-%m-%d %H:%M:%S %Z} here"
        for m in moments
    ]


def _next(expression: str, zone: Any) -> list[str]:
    """The next firing of a schedule that may be somebody else's, and then in words that only the scheduler knows."""
    try:
        return firings(cron.parse(expression), zone)[:1] or ["  never fires within five years"]
    except ValueError:
        return ["  next: unknown, this expression is none of six fields"]


def zone_of(name: str) -> Any:
    """A time zone by its IANA name; `ValueError` if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"no time zone {name!r}; write an IANA name such as UTC or Europe/Berlin") from None


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
    return only([job for job in jobs(client, namespace) if job.display_name == name], "schedule", name)
