"""The command line of `submit`, `schedule` and `doctor`."""

import argparse
from collections.abc import Callable
from typing import Any

from components.lib.cluster import images
from components.lib.recipe import selection
from components.lib.recipe.schema import Recipe

NAMESPACE = "kubeflow"  # of Kubeflow Pipelines without multi-user mode
EXPERIMENT = "grpo-pipeline"
ACCOUNT = "grpo-pipeline"  # of the least rights: manifests/components/account
Build = Callable[[Recipe], Any]  # makes the pipeline of a recipe


def add(verb: argparse.ArgumentParser, name: str, build: Build) -> None:
    """Give a verb of the cluster its flags."""
    function = {"submit": _submit, "schedule": _schedule, "doctor": _doctor}[name]
    verb.set_defaults(function=lambda given: function(given, selection.chosen(given.recipe, given.set), build))
    selection.add_arguments(verb)
    add_place(verb)
    verb.add_argument("--experiment", default=EXPERIMENT, help=f"experiment of the run (default: {EXPERIMENT})")
    add_account(verb)
    if name == "submit":
        verb.add_argument("--run-name", default="", metavar="NAME", help="name of the run (default: recipe and time)")
        verb.add_argument("--wait", action="store_true", help="show each step until the run has ended")
        verb.add_argument("--no-cache", action="store_true", help="run every step anew")
    elif name == "schedule":
        verb.add_argument("action", choices=("create", "list", "pause", "resume", "delete"), help="what to do")
        verb.add_argument("name", nargs="?", default="", metavar="NAME", help="name of the schedule")
        verb.add_argument("--cron", default="", help="5 fields, or 6 with seconds first, by the cluster's time zone")
        verb.add_argument("--force", action="store_true", help="replace or delete it although its run is working")
    else:
        verb.add_argument("--no-pods", action="store_true", help="start no probe Pods")
        model = "check this model instead, by its configuration and tokenizer alone: a Hub id, a directory or tiny"
        verb.add_argument("--model", default="", metavar="NAME", help=model)
        verb.add_argument("--revision", default="main", help="branch, tag or commit of --model (default: main)")


def add_follow(verb: argparse.ArgumentParser) -> None:
    """Give the verb `follow` its flags."""

    def function(given: argparse.Namespace) -> int:
        from components.lib.cluster.api import connect, endpoint_of
        from components.lib.cluster.watch import watch

        endpoint = endpoint_of(given.endpoint)
        return watch(connect(endpoint, given.namespace), endpoint, given.namespace, given.run_id)

    verb.add_argument("run_id", metavar="RUN_ID", help="the run, as its page and `kfp run list` name it")
    add_place(verb)
    verb.set_defaults(function=function)


def add_place(verb: argparse.ArgumentParser) -> None:
    """Give a verb the flags that say where Kubeflow Pipelines is."""
    verb.add_argument("--endpoint", metavar="URL", help="Kubeflow Pipelines (default: KF_PIPELINES_ENDPOINT)")
    verb.add_argument("--namespace", default=NAMESPACE, help=f"where the steps run (default: {NAMESPACE})")


def add_account(verb: argparse.ArgumentParser) -> None:
    """Give a verb the flag that names the account of the steps."""
    account = f"account of the steps (default: {ACCOUNT})"
    verb.add_argument("--service-account", default=ACCOUNT, metavar="NAME", help=account)


def _submit(arguments: argparse.Namespace, recipe: Recipe, build: Build) -> int:
    from components.lib.cluster.api import arguments_of, connect, endpoint_of
    from components.lib.cluster.submit import submit

    images.check_chosen()
    endpoint = endpoint_of(arguments.endpoint)
    arguments_of(recipe)  # before the network is asked
    client = connect(endpoint, arguments.namespace)  # before the pipeline is built, which takes seconds
    return submit(
        recipe, build(recipe), client, endpoint=endpoint, namespace=arguments.namespace,
        experiment=arguments.experiment, run_name=arguments.run_name, service_account=arguments.service_account,
        cache=not arguments.no_cache, wait=arguments.wait,
    )  # fmt: skip


def _schedule(arguments: argparse.Namespace, recipe: Recipe, build: Build) -> int:
    from components.lib.cluster import schedule
    from components.lib.cluster.api import arguments_of, connect, endpoint_of

    action, name, namespace = arguments.action, arguments.name, arguments.namespace
    if action != "list" and not name:
        raise ValueError(f"schedule {action} needs the NAME of a schedule")
    if action == "create":
        schedule.six_fields(arguments.cron)  # before the network is asked
        images.check_chosen()
        arguments_of(recipe)
    client = connect(endpoint_of(arguments.endpoint), namespace)
    if action == "list":
        schedule.show(client, namespace)
    elif action == "create":
        schedule.create(
            recipe, build(recipe), client, name=name, expression=arguments.cron, experiment=arguments.experiment,
            namespace=namespace, service_account=arguments.service_account, force=arguments.force,
        )  # fmt: skip
    elif action == "delete":
        schedule.delete(client, namespace, name, arguments.force)
    else:
        schedule.switch(client, namespace, name, on=action == "resume")
    return 0


def _doctor(arguments: argparse.Namespace, recipe: Recipe, build: Build) -> int:
    if arguments.model:
        from components.lib.cluster.doctor_model import examine_model

        return examine_model(recipe, arguments.model, arguments.revision)
    from components.lib.cluster.doctor import examine
    from components.lib.cluster.placement import for_cluster

    return examine(
        for_cluster(recipe), endpoint=arguments.endpoint, namespace=arguments.namespace,
        service_account=arguments.service_account, pods=not arguments.no_pods,
    )  # fmt: skip
