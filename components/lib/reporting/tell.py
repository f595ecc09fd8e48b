"""Tell the world how a run ended: the message of messages.py, posted to a webhook."""

import logging
import os
import threading

from components.lib.recipe.schema import Notify
from components.lib.registry.base import Store
from components.lib.registry.outcome import Outcome
from components.lib.registry.record import redact
from components.lib.reporting.messages import Request, message
from components.lib.retry import judge_http, retry

WEBHOOK_VARIABLE = "NOTIFY_WEBHOOK"
WEBHOOK_TIMEOUT_S = 10  # for all attempts together: a run's end waits no longer for it


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
    """Send one message, again if the server is busy or cut off, for WEBHOOK_TIMEOUT_S at most.

    A failure is printed: the run has ended either way. In a thread, since no timeout of a connection bounds the look-up
    of its name, or an answer that trickles in.
    """
    thread = threading.Thread(target=_post, args=(address, sent), daemon=True)
    thread.start()
    thread.join(WEBHOOK_TIMEOUT_S)
    if thread.is_alive():
        print(f"webhook failed: no answer within {WEBHOOK_TIMEOUT_S} s; check {WEBHOOK_VARIABLE}", flush=True)


def _post(address: str, sent: Request) -> None:
    """The address is secret: errors that say a part of it are not printed."""
    import httpx2

    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs each address at INFO, which KFP's steps print

    def attempt() -> httpx2.Response:
        answer = httpx2.post(
            address, content=sent.body, headers=sent.headers, timeout=WEBHOOK_TIMEOUT_S, follow_redirects=True
        )
        return answer.raise_for_status()

    try:
        answer = retry(attempt, "webhook", judge_http)
        if answer.request.method == "POST":
            print(f"webhook answered {answer.status_code}")
        else:  # a redirect has made a GET of it
            print(f"webhook failed: it leads to another page, as of a login; check {WEBHOOK_VARIABLE}")
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        print(f"webhook failed: {WEBHOOK_VARIABLE} is no address; write https://HOST/PATH")
    except httpx2.HTTPStatusError as error:
        print(f"webhook failed: HTTP {error.response.status_code}; check the environment variable {WEBHOOK_VARIABLE}")
    except (httpx2.HTTPError, ValueError) as error:
        print(redact(f"webhook failed: {error!r}; check the environment variable {WEBHOOK_VARIABLE}"))
