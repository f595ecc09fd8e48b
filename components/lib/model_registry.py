"""Kubeflow's Model Registry by its REST API v1alpha3: look something up by its name, make it if it is not there.

The API is api/openapi/model-registry.yaml of https://github.com/kubeflow/model-registry. Its Python client,
model-registry 0.3.18, is left out: it wants python-dateutil below 3, of which the images have 4, would bring eleven
packages of 12 MB (aiohttp among them) into the data image, and patches asyncio's event loop, all for three look-ups
and three posts.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from components.lib import retry

T = TypeVar("T")

API = "api/model_registry/v1alpha3"
TOKEN_VARIABLE = "MODEL_REGISTRY_TOKEN"
ANSWER_S = 10
NOT_FOUND, CONFLICT = 404, 409  # HTTP status
REFUSED = (401, 403)


class ModelRegistry:
    """The Model Registry at an address, as http://SERVICE.NAMESPACE:8080; MODEL_REGISTRY_TOKEN is its bearer token.

    What goes wrong is a `ValueError` that names the address and what to do, after retries of what may pass.
    """

    def __init__(self, address: str) -> None:
        self.address, self.token = address.rstrip("/"), os.environ.get(TOKEN_VARIABLE, "").strip()

    def check(self) -> None:
        """Refuse an address where none answers, or what answers does not speak the API."""
        found = self._asked(lambda: self._send("GET", "registered_models", {"pageSize": "1"}))
        if not isinstance(found.get("items"), list):
            raise ValueError(f"{self.address} is no Model Registry: its {API}/registered_models lists nothing")

    def ensure(self, kind: str, name: str, body: Mapping[str, Any], *, parent: str = "", path: str = "") -> str:
        """The id of what is called `name`, of a `kind` as the look-up's path spells it; made of `body` if need be.

        `parent` is the id below which the name is looked up, `path` where it is made, if not among all of its kind. An
        answer that was lost is asked for anew, so that nothing is made twice.
        """
        query = {"name": name} | ({"parentResourceId": parent} if parent else {})

        def attempt() -> dict[str, Any]:
            found = self._send("GET", kind, query)
            return found or self._send("POST", path or f"{kind}s", body={"name": name, **body})

        found = self._asked(attempt)
        if not found.get("id"):
            raise ValueError(f"{self.address} gives {kind} {name!r} no id; is it a Model Registry?")
        return str(found["id"])

    def _send(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One request; a look-up that finds nothing is empty."""
        import httpx2

        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{self.address}/{API}/{path}"
        answer = httpx2.request(method, url, params=query, json=body, headers=headers, timeout=ANSWER_S)
        if query and "name" in query and answer.status_code == NOT_FOUND:
            return {}
        found = answer.raise_for_status().json()
        return found if isinstance(found, dict) else {}

    def _asked(self, call: Callable[[], T]) -> T:
        """Call, again if what went wrong may pass."""
        import httpx2

        retry.refuse_dead_proxy(self.address)
        try:
            return retry.retry(call, f"Model Registry {self.address}", _judge)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ValueError(self._told(error)) from None
        except ValueError as error:
            raise ValueError(f"{self.address} is no Model Registry: {error}") from None

    def _told(self, error: Exception) -> str:
        """What an error says, and what to do."""
        status, _ = retry.status_of(error)
        if status in REFUSED:
            what = f"refuses {TOKEN_VARIABLE}" if self.token else f"wants a token, and {TOKEN_VARIABLE} is not set"
            return f"the Model Registry {self.address} {what} (HTTP {status}); give one that may write"
        if status is None:
            return f"the Model Registry {self.address} does not answer ({str(error) or repr(error)}); is it running?"
        said = " ".join(error.response.text.split())[:200]  # type: ignore[attr-defined]
        return f"{self.address} answers HTTP {status} ({said}); is it a Model Registry, and is all well with it?"


def _judge(error: Exception) -> retry.Transient | None:
    """What may pass; what somebody else has made meanwhile is there at the next look-up."""
    conflict = retry.status_of(error)[0] == CONFLICT
    return retry.Transient("made by another") if conflict else retry.judge_http(error)
