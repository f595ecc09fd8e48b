"""Reaching Kubeflow Pipelines: where it is, whether it answers, and its client."""

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.lib.cluster.placement import for_cluster, registry_trouble
from components.lib.recipe import recipes
from components.lib.recipe.schema import Recipe

ENDPOINT_VARIABLE = "KF_PIPELINES_ENDPOINT"
TOKEN_VARIABLE = "KF_PIPELINES_EXISTING_TOKEN"
CONNECT_S, ANSWER_S = 1, 5
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")  # states in which a run stays
FORWARD = "kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80"


def endpoint_of(given: str | None) -> str:
    """The address of Kubeflow Pipelines, given or from KF_PIPELINES_ENDPOINT; `ValueError` without one."""
    address = (given or os.environ.get(ENDPOINT_VARIABLE, "")).rstrip("/")
    if not address:
        raise ValueError(
            f"no address of Kubeflow Pipelines; run `{FORWARD}` and give --endpoint http://localhost:8080 "
            f"or set {ENDPOINT_VARIABLE}"
        )
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"endpoint {address!r} has no scheme; write http://{address} or https://{address}")
    return address


def health(endpoint: str) -> dict[str, Any]:
    """What the API server says of itself (tag_name, multi_user); `ValueError` within seconds if it does not answer."""
    import httpx2

    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{endpoint}/apis/v2beta1/healthz"
    try:
        timeout = httpx2.Timeout(ANSWER_S, connect=CONNECT_S)
        answer = httpx2.get(url, headers=headers, timeout=timeout, follow_redirects=True)
        if answer.is_error:
            found = f"{answer.status_code} {answer.reason_phrase}"
            raise ValueError(f"{endpoint} answered {found}; is it Kubeflow Pipelines?")
        return answer.json()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ValueError(
            f"Kubeflow Pipelines does not answer at {endpoint} ({str(error) or repr(error)}); is `{FORWARD}` running?"
        ) from None
    except json.JSONDecodeError:
        raise ValueError(
            f"{endpoint} is not Kubeflow Pipelines: its health page is no JSON; check the address"
        ) from None


def connect(endpoint: str, namespace: str) -> Any:
    """A KFP client, after the server has answered."""
    health(endpoint)
    from kfp.client import Client

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that it needs KFP 2
        return Client(host=endpoint, namespace=namespace, existing_token=os.environ.get(TOKEN_VARIABLE))


@contextlib.contextmanager
def compiled(pipeline: Any) -> Iterator[Path]:
    """The path of a recipe's pipeline as YAML while the with statement lasts."""
    from kfp import compiler

    with TemporaryDirectory() as directory:
        path = Path(directory, "pipeline.yaml")
        compiler.Compiler().compile(pipeline, str(path))
        yield path


@contextlib.contextmanager
def accepted(what: str) -> Iterator[None]:
    """Make one line, a `ValueError`, of the server's refusal of what the with statement asks."""
    from kfp_server_api.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        raise ValueError(f"Kubeflow Pipelines refuses {what} ({error.status}): {message_of(error)}") from None


def message_of(error: Any) -> str:
    """What an API server, of Kubernetes or of Kubeflow Pipelines, says in the body of a refusal, in one line."""
    try:
        return " ".join(str(json.loads(error.body)["message"]).split())
    except (ValueError, KeyError, TypeError):
        return str(error.body)[:300]


def experiment_of(client: Any, name: str, namespace: str) -> str:
    """The id of an experiment, made if there is none."""
    with quiet():
        return client.create_experiment(name, namespace=namespace).experiment_id


def quiet() -> contextlib.AbstractContextManager[Any]:
    """Swallow what KFP's client prints of its own accord."""
    return contextlib.redirect_stdout(io.StringIO())


def arguments_of(recipe: Recipe) -> dict[str, Any]:
    """The run parameters with the recipe's values, typed; `ValueError` if one is missing or cannot be on a cluster."""
    if trouble := registry_trouble(recipe):
        raise ValueError(trouble)
    recipe = for_cluster(recipe)
    return {name: recipes.value(recipe, name) for name in recipes.PARAMETERS}
