"""A local server that speaks the Hub's HTTP protocol as huggingface_hub 2.4, transformers and datasets use it.

    with HubServer() as hub:
        hub.add_repo("dataset", "openai/gsm8k", {"README.md": b"..."})
        # run a process with hub.environment()

From the command line: `python -m tests.hub_server --model ID=DIR --dataset ID=DIR --port N`; then set HF_ENDPOINT
to the address that it prints. Uploads take the LFS way (HF_HUB_DISABLE_XET=1): there is no Xet storage here.
"""

import argparse
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.hub_repo import Repo
from tests.hub_routes import Answer, Request, route


@dataclass
class Fault:
    """Something that goes wrong with the next `times` requests whose "METHOD /path" matches `request`.

    `kind`: "status" answers `status` with `headers` and does nothing; "cut" closes the connection and does nothing;
    "lost" does the work and closes the connection without an answer; "corrupt" flips a bit of the uploaded or
    downloaded body.
    """

    request: str
    kind: str = "status"
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1


class HubServer:
    """The server; use it in a with statement.

    `tokens` maps a token to its role: "read", "write", or the list of a fine-grained one's scopes, as the Hub gives
    them: {"entity": {"type", "name"}, "permissions": [...]}.
    """

    def __init__(self, port: int = 0) -> None:
        self.blobs: dict[str, bytes] = {}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.tokens: dict[str, str | list[dict[str, Any]]] = {"hf_write": "write", "hf_read": "read"}
        self.orgs: list[dict[str, Any]] = []  # of the one user, as whoami tells them
        self.faults: list[Fault] = []
        self.log: list[str] = []  # "METHOD /path" of every request, in order
        self.parts: dict[tuple[str, int], bytes] = {}  # parts of multipart uploads
        self.part_size = 64 << 20  # bytes; larger LFS files are uploaded in parts
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """The address to be set as HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self, home: Path, token: str = "hf_write") -> dict[str, str]:
        """What a process needs in its environment to use this server, with its caches under `home`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    def add_repo(self, kind: str, id: str, files: dict[str, bytes], private: bool = False) -> Repo:
        """Make a repository of kind "model" or "dataset", or add a commit with these files to an old one."""
        with self.lock:
            repo = self.repos.setdefault((kind, id), Repo(kind, id, self.blobs, private))
            head = repo.resolve("main")
            added = {path: repo.add(path, data) for path, data in files.items()}
            repo.commit("main", "Add files", (head.files if head else {}) | added)
            return repo

    def fault_for(self, line: str) -> Fault | None:
        """The first fault that matches a request, used up by one."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.request, line):
                    fault.times -= 1
                    return fault
        return None

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler_of(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # headers and body in one packet: no delayed acknowledgement
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            split = urllib.parse.urlsplit(self.path)
            path = split.path
            line = f"{self.command} {path}"
            hub.log.append(line)
            fault = hub.fault_for(line)
            body = self._body()
            if fault and fault.kind == "cut":
                self.close_connection = True
                return
            if fault and fault.kind == "status":
                self._send(Answer(fault.status, {"error": f"fault {fault.status}"}, fault.headers))
                return
            query = dict(urllib.parse.parse_qsl(split.query))
            corrupt = fault is not None and fault.kind == "corrupt"
            with hub.lock:
                answer = route(hub, Request(self.command, path, query, self.headers, body, corrupt))
            if fault and fault.kind == "lost":
                self.close_connection = True
                return
            self._send(answer)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                return b"".join(self._chunks())
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def _send(self, answer: Answer) -> None:
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            kind = "application/octet-stream" if isinstance(answer.body, bytes) else "application/json"
            self.send_response(answer.status)
            headers = {"Content-Type": kind, "Content-Length": str(len(body))} | answer.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, *_: Any) -> None:
            """Say nothing: `hub.log` has every request."""

    return Handler


def directory_files(directory: Path) -> dict[str, bytes]:
    """The files of a directory, as `add_repo` takes them."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def _add(hub: HubServer, kind: str, arguments: list[str]) -> None:
    for argument in arguments:
        name, separator, directory = argument.partition("=")
        if not separator or not Path(directory).is_dir():
            raise SystemExit(f"--{kind} {argument}: write ID=DIRECTORY")
        hub.add_repo(kind, name, directory_files(Path(directory)))


def main() -> None:
    """Serve directories as repositories until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.hub_server", description="a local stand-in for the Hub")
    parser.add_argument("--model", action="append", default=[], metavar="ID=DIR", help="a model repository")
    parser.add_argument("--dataset", action="append", default=[], metavar="ID=DIR", help="a data set repository")
    parser.add_argument("--schemas", type=int, metavar="ROWS", help="the repositories of recipe qwen3.5-0.8b, tiny")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    arguments = parser.parse_args()
    with HubServer(arguments.port) as hub:
        if arguments.schemas:
            from tests.hub_fixtures import serve_true_schemas

            serve_true_schemas(hub, rows=arguments.schemas)
        _add(hub, "model", arguments.model)
        _add(hub, "dataset", arguments.dataset)
        print(f"export HF_ENDPOINT={hub.url} HF_HUB_DISABLE_XET=1 HF_TOKEN=hf_write", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
