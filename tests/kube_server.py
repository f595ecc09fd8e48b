"""The few questions that a step's Pod asks Kubernetes and Kubeflow Pipelines, answered over TLS and HTTP.

The answers have the form that Kubernetes 1.34 and Kubeflow Pipelines 2.17.0 were seen to give.
"""

import json
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "account-token"
RUN = "0707125f-2620-4f31-a668-e0725b00ed4c"


def pod(name: str, function: str, *, number: int = 0, run_id: str = RUN, **status: Any) -> dict[str, Any]:
    """A step's Pod; a driver's if `function` is empty. `state` is the main container's, the rest its status."""
    state = status.pop("state", {"terminated": {"exitCode": 0, "reason": "Completed"}})
    words = ["--executor_input", "{}", "--function_to_execute", function] if function else ["--type", "CONTAINER"]
    statuses = [{"name": "wait", "state": {}, "imageID": "argo/argoexec@sha256:00"},
                {"name": "main", "state": state, "imageID": "registry.example/data@sha256:c616"}]  # fmt: skip
    return {
        "metadata": {"name": name, "labels": {"pipeline/runid": run_id},
                     "creationTimestamp": f"2026-11-24T22:{number:02}:00Z"},
        "spec": {"containers": [{"name": "wait"}, {"name": "main", "command": ["sh", "-c"], "args": words}]},
        "status": {"phase": "Succeeded", "containerStatuses": statuses} | status,
    }  # fmt: skip


class Cluster:
    """Pods, their logs, and the tasks that Kubeflow Pipelines calls failed; `forbidden` are refused paths."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        self.logs: dict[str, str] = {}
        self.failed: list[tuple[str, str]] = []
        self.forbidden = ""
        self.asked: list[str] = []

    def answer(self, path: str, token: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        self.asked.append(path)
        split = urlsplit(path)
        if split.path == f"/apis/v2beta1/runs/{RUN}":
            details = [{"display_name": n, "state": "FAILED", "create_time": str(i)} |
                       ({"error": {"message": e}} if e else {}) for i, (n, e) in enumerate(self.failed)]  # fmt: skip
            return 200, json.dumps({"run_id": RUN, "run_details": {"task_details": details}}).encode()
        match = re.fullmatch(r"/api/v1/namespaces/kubeflow/pods(?:/([^/]+)(/log)?)?", split.path)
        if token != f"Bearer {TOKEN}" or not match or (self.forbidden and re.search(self.forbidden, split.path)):
            return (403, b'{"kind": "Status", "reason": "Forbidden"}')
        name, log = match.groups()
        if not name:
            selector = unquote(parse_qs(split.query)["labelSelector"][0])
            found = [p for p in self.pods if selector == f"pipeline/runid={p['metadata']['labels']['pipeline/runid']}"]
            return 200, json.dumps({"kind": "PodList", "items": found}).encode()
        if log:
            return (200, self.logs[name].encode()) if name in self.logs else (404, b"{}")
        found = [p for p in self.pods if p["metadata"]["name"] == name]
        return (200, json.dumps(found[0]).encode()) if found else (404, b"{}")


@contextmanager
def serve(cluster: Cluster, certificate: Path | None) -> Iterator[int]:
    """Serve a cluster, over TLS with a certificate; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = cluster.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def make_certificate(directory: Path) -> Path:
    """Key and self-signed certificate of 127.0.0.1 in one file, by openssl."""
    path = directory / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(directory / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    with path.open("a") as file:
        file.write((directory / "cert.pem").read_text())
    return path
