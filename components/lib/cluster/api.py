"""Reaching Kubeflow Pipelines: where it is, whether it answers, and its client."""

import contextlib
import http.client
import io
import json
import os
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.lib.recipe import recipes
from components.lib.recipe.schema import Recipe

ENDPOINT_VARIABLE = "KF_PIPELINES_ENDPOINT"
TOKEN_VARIABLE = "KF_PIPELINES_EXISTING_TOKEN"
CONNECT_S = 5
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
    request = urllib.request.Request(f"{endpoint}/apis/v2beta1/healthz")
    if token := os.environ.get(TOKEN_VARIABLE):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_S) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise ValueError(f"{endpoint} answered {error.code} {error.reason}; is it Kubeflow Pipelines?") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", "") or repr(error)
        raise ValueError(
            f"Kubeflow Pipelines does not answer at {endpoint} ({reason}); is `{FORWARD}` running?"
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


class compiled:
    """The path of a recipe's pipeline as YAML while the with statement lasts."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline, self.directory = pipeline, TemporaryDirectory()

    def __enter__(self) -> Path:
        from kfp import compiler

        path = Path(self.directory.name, "pipeline.yaml")
        compiler.Compiler().compile(self.pipeline, str(path))
        return path

    def __exit__(self, *_: Any) -> None:
        self.directory.cleanup()


def experiment_of(client: Any, name: str, namespace: str) -> str:
    """The id of an experiment, made if there is none."""
    with quiet():
        return client.create_experiment(name, namespace=namespace).experiment_id


def quiet() -> contextlib.AbstractContextManager[Any]:
    """Swallow what KFP's client prints of its own accord."""
    return contextlib.redirect_stdout(io.StringIO())


def arguments_of(recipe: Recipe) -> dict[str, Any]:
    """The run parameters with the recipe's values, typed; `ValueError` if one that has no default is missing."""
    if not recipe.registry:
        raise ValueError("registry is empty; add --set registry=s3://BUCKET/PREFIX, where run records and models go")
    return {name: recipes.value(recipe, name) for name in recipes.PARAMETERS}


def only(found: list[Any], what: str, name: str) -> Any:
    """The one element of a list; `ValueError` if there is none."""
    if not found:
        raise ValueError(f"there is no {what} {name!r}; `pipeline.py schedule list` shows what there is")
    return found[0]
