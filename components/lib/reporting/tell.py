"""Tell the world how a run ended: the message of messages.py, posted to a webhook."""

import http.client
import os
import urllib.error
import urllib.request

from components.lib.recipe.schema import Notify
from components.lib.registry.base import Store
from components.lib.registry.outcome import Outcome
from components.lib.registry.record import redact
from components.lib.reporting.messages import Request, message
from components.lib.retry import Transient, retry

WEBHOOK_VARIABLE = "NOTIFY_WEBHOOK"
WEBHOOK_TIMEOUT_S = 10


def tell(outcome: Outcome, link: str, settings: Notify) -> None:
    """Send the message about a run's end, if there is a webhook."""
    if address := os.environ.get(WEBHOOK_VARIABLE):
        post(address, message(outcome, link, settings.format))


def ui_link(run_id: str, settings: Notify) -> str:
    """A run's page in the Kubeflow UI, empty if its address is not known."""
    return f"{settings.ui.rstrip('/')}/#/runs/details/{run_id}" if settings.ui else ""


def link_of(store: Store, run_id: str, settings: Notify) -> str:
    """Where to look at a run: its page in the Kubeflow UI, else its report, else its records in the registry."""
    if link := ui_link(run_id, settings):
        return link
    report = f"runs/{run_id}/results/report.html"
    return store.url(report if store.keys(report) else f"runs/{run_id}")


def post(address: str, sent: Request) -> None:
    """Send one message, again if the server is busy or cut off; a failure is printed: the run has ended either way."""

    def attempt() -> int:
        request = urllib.request.Request(address, data=sent.body, headers=sent.headers)
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S) as answer:
            return answer.status

    try:
        print(f"webhook answered {retry(attempt, 'webhook', _judge)}")
    except http.client.InvalidURL:  # it says a part of the address, which is secret
        print(f"webhook failed: {WEBHOOK_VARIABLE} is no address; write https://HOST/PATH")
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(redact(f"webhook failed: {error}; check the environment variable {WEBHOOK_VARIABLE}"))


def _judge(error: Exception) -> Transient | None:
    if isinstance(error, urllib.error.HTTPError):
        after = error.headers.get("Retry-After", "")
        passes = error.code == 429 or error.code >= 500
        return Transient(f"HTTP {error.code}", float(after) if after.isdigit() else None) if passes else None
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    cut = isinstance(reason, ConnectionError | TimeoutError | http.client.HTTPException)
    return Transient(repr(reason)) if cut and not isinstance(reason, http.client.InvalidURL) else None
