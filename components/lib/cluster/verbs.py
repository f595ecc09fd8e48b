"""The command line of `submit`, `schedule` and `doctor`."""

import argparse
from collections.abc import Callable
from typing import Any

from components.lib.cluster import images
from components.lib.recipe.schema import Recipe

NAMESPACE = "kubeflow"  # of Kubeflow Pipelines without multi-user mode
EXPERIMENT = "grpo-pipeline"


def add(
    verbs: Any,
    *,
    verb: Callable[..., argparse.ArgumentParser],
    add_recipe: Callable[[argparse.ArgumentParser], None],
    chosen: Callable[[argparse.Namespace], Recipe],
    build: Callable[[Recipe], Any],
) -> None:
    """Add the three verbs to the parser; the callables are pipeline.py's own."""

    def with_recipe(function: Callable[..., int]) -> Callable[[argparse.Namespace], int]:
        return lambda arguments: function(arguments, chosen(arguments), build)

    submit = verb(verbs, "submit", "start a run on a cluster", with_recipe(_submit))
    add_recipe(submit)
    _add_server(submit)
    submit.add_argument("--run-name", default="", metavar="NAME", help="name of the run (default: recipe and time)")
    submit.add_argument("--wait", action="store_true", help="show each step until the run has ended")
    submit.add_argument("--no-cache", action="store_true", help="run every step anew")
    schedule = verb(verbs, "schedule", "start runs on a cluster by the clock", with_recipe(_schedule))
    schedule.add_argument("action", choices=("create", "list", "pause", "resume", "delete"), help="what to do")
    schedule.add_argument("name", nargs="?", default="", metavar="NAME", help="name of the schedule")
    schedule.add_argument("--cron", default="", help="5 fields, or 6 with seconds first, by the cluster's time zone")
    schedule.add_argument("--zone", default="UTC", help="time zone of the cluster's scheduler (default: UTC)")
    schedule.add_argument("--force", action="store_true", help="replace or delete it although its run is working")
    add_recipe(schedule)
    _add_server(schedule)
    doctor = verb(verbs, "doctor", "check a cluster before a run", with_recipe(_doctor))
    add_recipe(doctor)
    _add_server(doctor)
    doctor.add_argument("--no-pods", action="store_true", help="start no probe Pods")


def _add_server(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--endpoint", metavar="URL", help="Kubeflow Pipelines (default: KF_PIPELINES_ENDPOINT)")
    verb.add_argument("--namespace", default=NAMESPACE, help=f"where the steps run (default: {NAMESPACE})")
    verb.add_argument("--experiment", default=EXPERIMENT, help=f"experiment of the run (default: {EXPERIMENT})")
    verb.add_argument("--service-account", default="", metavar="NAME", help="account of the steps (default: KFP's)")


def _submit(arguments: argparse.Namespace, recipe: Recipe, build: Callable[[Recipe], Any]) -> int:
    from components.lib.cluster.api import endpoint_of
    from components.lib.cluster.submit import submit

    images.check_chosen()
    endpoint = endpoint_of(arguments.endpoint)  # before the pipeline is built, which takes a second
    return submit(
        recipe,
        build(recipe),
        endpoint=endpoint,
        namespace=arguments.namespace,
        experiment=arguments.experiment,
        run_name=arguments.run_name,
        service_account=arguments.service_account,
        cache=not arguments.no_cache,
        wait=arguments.wait,
    )


def _schedule(arguments: argparse.Namespace, recipe: Recipe, build: Callable[[Recipe], Any]) -> int:
    from components.lib.cluster import cron, schedule
    from components.lib.cluster.api import connect, endpoint_of

    if arguments.action != "list" and not arguments.name:
        raise ValueError(f"schedule {arguments.action} needs the NAME of a schedule")
    if arguments.action == "create":
        cron.parse(arguments.cron)  # before the network is asked
        images.check_chosen()
    client = connect(endpoint_of(arguments.endpoint), arguments.namespace)
    if arguments.action == "list":
        schedule.show(client, arguments.namespace, arguments.zone)
    elif arguments.action == "create":
        schedule.create(
            recipe,
            build(recipe),
            client,
            name=arguments.name,
            expression=arguments.cron,
            zone=arguments.zone,
            experiment=arguments.experiment,
            namespace=arguments.namespace,
            service_account=arguments.service_account,
            force=arguments.force,
        )
    elif arguments.action == "delete":
        schedule.delete(client, arguments.namespace, arguments.name, arguments.force)
    else:
        change = {"pause": schedule.pause, "resume": schedule.resume}[arguments.action]
        change(client, arguments.namespace, arguments.name)
    return 0


def _doctor(arguments: argparse.Namespace, recipe: Recipe, build: Callable[[Recipe], Any]) -> int:
    from components.lib.cluster.doctor import examine
    from components.lib.cluster.placement import for_cluster

    return examine(
        for_cluster(recipe),
        endpoint=arguments.endpoint,
        namespace=arguments.namespace,
        service_account=arguments.service_account,
        pods=not arguments.no_pods,
    )
