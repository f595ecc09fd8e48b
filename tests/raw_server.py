"""A server that answers with given bytes, whole or broken, and closes the connection."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
GARBAGE = b"no HTTP at all\r\n\r\n"
DONE = b"HTTP/1.1 204 Done\r\n\r\n"
NO_XML = b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\n<html/>\n"


@contextmanager
def raw_server(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Give each connection one answer, the last one for ever; yields the address and the requests so far."""
    received: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            received.append(self.request.recv(1 << 20))
            self.request.sendall(answers[min(len(received), len(answers)) - 1])

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", received
        finally:
            server.shutdown()
