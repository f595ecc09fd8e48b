"""A TCP relay on this machine that can be cut and mended, as a port-forward is that breaks."""

import contextlib
import socket
import socketserver
import threading
import time
from urllib.parse import urlsplit


class _Pipe(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError), socket.create_connection(self.server.target) as there:
            self.server.open += [self.request, there]
            back = threading.Thread(target=_copy, args=(there, self.request), daemon=True)
            back.start()
            _copy(self.request, there)
            back.join()


def _copy(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    block_on_close = False


class Relay:
    """Leads from a port of this machine to the host and port of a URL; use it in a with statement."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.target, self.port, self.server = (parts.hostname, parts.port), 0, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self.server = _Server(("127.0.0.1", self.port), _Pipe)
        self.server.target, self.server.open = self.target, []
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        for end in self.server.open:
            end.close()

    def cut(self, seconds):
        """Break every connection and refuse new ones for some seconds."""
        self.__exit__()
        time.sleep(seconds)
        self.__enter__()
