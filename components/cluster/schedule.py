"""The verb `schedule`: recurring runs on a cluster, one at a time and without catching up on missed ones."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from components.cluster import cron
from components.cluster.api import arguments_of, compiled, experiment_of, only
from components.schema import Recipe

SHOWN = 3  # firings
PAGE = 50


def create(
    recipe: Recipe, pipeline: Any, client: Any, *, name: str, expression: str, zone: str, experiment: str,
    namespace: str, service_account: str,
) -> str:  # fmt: skip
    """Make the recurring run `name`, replace the one that had the name before, and return its id.

    `zone` is the time zone by which the cluster's scheduler works (CRON_SCHEDULE_TIMEZONE, the same for all).
    """
    parsed = cron.parse(expression)
    place = zone_of(zone)
    if next(parsed.after(datetime.now(UTC), place), None) is None:
        raise ValueError(f"cron {expression!r} never fires within five years; check day and month")
    arguments = arguments_of(recipe)
    before = [job for job in jobs(client, namespace) if job.display_name == name]
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
            print(firings(cron.parse(expression), zone_of(zone))[0])
    if not found:
        print("there are no schedules")


def pause(client: Any, namespace: str, name: str) -> None:
    """Stop a schedule from firing; runs that have begun go on."""
    client.disable_recurring_run(_find(client, namespace, name))
    print(f"schedule {name} is paused")


def resume(client: Any, namespace: str, name: str) -> None:
    """Let a paused schedule fire again."""
    client.enable_recurring_run(_find(client, namespace, name))
    print(f"schedule {name} is on")


def delete(client: Any, namespace: str, name: str) -> None:
    """Remove a schedule; its runs stay."""
    client.delete_recurring_run(_find(client, namespace, name))
    print(f"schedule {name} is deleted")


def firings(parsed: cron.Cron, zone: Any) -> list[str]:
    """The next firings, one line each, in UTC and in this machine's time."""
    moments = islice(parsed.after(datetime.now(UTC), zone), SHOWN)
    return [
        f"  next: {m.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {m.astimezone():%Y-%m-%d %H:%M:%S %Z} here"
        for m in moments
    ]


def zone_of(name: str) -> Any:
    """A time zone by its IANA name; `ValueError` if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"no time zone {name!r}; write an IANA name such as UTC or Europe/Berlin") from None


def jobs(client: Any, namespace: str) -> Iterator[Any]:
    """Every recurring run of a namespace, page by page."""
    token = ""
    while True:
        page = client.list_recurring_runs(page_token=token, page_size=PAGE, namespace=namespace)
        yield from page.recurring_runs or []
        token = page.next_page_token or ""
        if not token:
            return


def _find(client: Any, namespace: str, name: str) -> str:
    return only([job for job in jobs(client, namespace) if job.display_name == name], "schedule", name).recurring_run_id
