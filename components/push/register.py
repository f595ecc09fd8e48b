"""Register a promoted version in Kubeflow's Model Registry, so that its dashboard shows it.

python -m components.push.register --registry PLACE --address URL [--endpoint URL] registers the champion of a registry.

A registered model is called as the recipe, a version of it as the version; its artifact has the address of the release
tree. The version's properties are where it comes from (commit, recipe, run, base model and data at their revisions) and
what it scored. What is there already stays as it is.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.lib.command import main
from components.lib.model_registry import ModelRegistry
from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.store import open_store
from components.lib.reporting.wording import slug

AUTHOR = "grpo-pipeline"
ENDPOINT = "S3_ENDPOINT"
GATE = ("accuracy", "base_difference", "base_p_value", "champion_difference", "champion_p_value")


def register(registry: str, pushed: Mapping[str, str], address: str) -> dict[str, str]:
    """Register what `push` has published, if there is an `address`; returns "registered", or "warning" if it failed.

    The release is the champion by then, and stays so whatever is wrong here.
    """
    if not address:
        return {}
    try:
        return {"registered": register_version(open_store(registry), pushed, address, None)}
    except Exception as error:
        bucket = f" --endpoint {os.environ.get(ENDPOINT)}" if registry.startswith("s3://") else ""
        again = f"python -m components.push.register --registry {registry} --address {address}{bucket}"
        warning = f"version {pushed['version']} is not in the Model Registry: {error}; `{again}` registers it later"
        print(f"warning: {warning}", flush=True)
        return {"warning": warning}


def register_champion(*, registry: str, address: str, endpoint: str | None) -> str:
    """Register the champion of a registry in the Model Registry at an address.

    `endpoint` is where the bucket's server is for those who will fetch the model, if not at S3_ENDPOINT.
    """
    store = open_store(registry)
    champion = read_champion(store)
    if not champion:
        raise ValueError(f"registry {registry} has no champion; promote a model first")
    return f"registered: {register_version(store, champion, address, endpoint)}"


def register_version(store: Store, pushed: Mapping[str, str], address: str, endpoint: str | None) -> str:
    """Register a version whose release the store has; returns its names there. `ValueError` says what is wrong."""
    version = pushed["version"]
    origin, results = (store.read_json(f"models/{version}/{name}.json") for name in ("provenance", "results"))
    if not origin or not results:
        raise ValueError(f"{store.url(f'models/{version}')} holds no release; push it again")
    name = re.sub(r"[^\x20-\x7e]", "_", Path(origin["recipe"]["name"]).name)  # others the look-up does not take
    server, base = ModelRegistry(address), origin["plan"]["model"]
    told = f"{base} trained to reason: {' then '.join(origin['recipe']['stages'])}"
    model = server.ensure("registered_model", name, {"description": told, "owner": AUTHOR, "state": "LIVE"})
    body = {
        "registeredModelId": model, "description": (origin["decision"] or {}).get("reason", told), "author": AUTHOR,
        "state": "LIVE", "customProperties": dict(_properties(pushed, origin, results["results"])),
    }  # fmt: skip
    version_id = server.ensure("model_version", version, body, parent=model)
    artifact = {
        "artifactType": "model-artifact", "uri": _address(pushed["location"], endpoint), "state": "LIVE",
        "modelFormatName": "safetensors", "modelSourceKind": "pipelines", "modelSourceClass": "pipelinerun",
        "modelSourceId": origin["run_id"], "modelSourceName": AUTHOR,
    }  # fmt: skip
    path = f"model_versions/{version_id}/artifacts"
    server.ensure("model_artifact", f"{name}-{version}", artifact, parent=version_id, path=path)
    print(f"{name} {version} is in the Model Registry {address}", flush=True)
    return f"{name} {version}"


def _properties(
    pushed: Mapping[str, str], origin: Mapping[str, Any], scores: list[dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Provenance and metrics as the API wants them; the dashboard shows texts and numbers, a text that is empty not."""
    plan = origin["plan"]
    texts = {
        "commit": origin["commit"], "recipe": origin["recipe"]["name"], "run_id": origin["run_id"],
        "seed": plan["seed"], "base_model": plan["model"], "base_revision": plan["revision"],
        "data": _sources(plan["sources"]), "evaluation_data": _sources(plan["evaluation"]),
        "data_version": pushed["data"], "hub": pushed["url"],
    }  # fmt: skip
    for name, text in texts.items():
        if text not in ("", None):
            yield name, {"string_value": str(text), "metadataType": "MetadataStringValue"}
    whole = (row for row in scores if not row.get("source"))  # of all problems together
    numbers = {slug(f"{row['checkpoint']}_{row['protocol']}_accuracy"): row["accuracy"] for row in whole}
    gate = (origin["decision"] or {}).get("numbers", {})
    numbers |= {f"gate_{name}": gate[name] for name in GATE if name in gate}
    for name, number in numbers.items():
        yield name, {"double_value": number, "metadataType": "MetadataDoubleValue"}


def _sources(sources: list[dict[str, Any]]) -> str:
    return ", ".join(f"{source['path']} at {source['revision']}" for source in sources)


def _address(location: str, endpoint: str | None) -> str:
    """The address of a release tree as the dashboard and KServe read it: a bucket with its server, or file://."""
    if not location.startswith("s3://"):
        return Path(location).as_uri()
    return f"{location}?endpoint={quote(endpoint or os.environ[ENDPOINT], safe='')}"


if __name__ == "__main__":
    told = {
        "address": "that of the Model Registry, as http://HOST:PORT",
        "endpoint": "the bucket's server as Pods reach it (default: S3_ENDPOINT)",
    }
    sys.exit(main("push.register", register_champion, told=told))
