"""A real MinIO server on a free port for the tests that need one, and the reason to skip them if there is none."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from minio import Minio

ACCESS_KEY, SECRET_KEY = "tester", "tester-secret"
START_S = 30
MISSING = "needs MinIO: set MINIO to its binary or `go install github.com/minio/minio@latest`; S3 is not tested"


def find_minio() -> str | None:
    """The MinIO binary: $MINIO, `minio` on PATH, or ~/go/bin/minio; None if there is none."""
    candidates = (os.environ.get("MINIO"), shutil.which("minio"), str(Path.home() / "go" / "bin" / "minio"))
    return next((path for path in candidates if path and os.access(path, os.X_OK)), None)


class MinioServer:
    """A MinIO server over `data`; use it in a with statement. `kill` and `start` let it die and come back.

    `settings` are environment variables of the server.
    """

    def __init__(self, data: Path, **settings: str) -> None:
        self.data, self.settings = data, settings
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address to be set as S3_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this server."""
        return {"S3_ENDPOINT": self.url, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    def client(self) -> Minio:
        """A client of its own, to look from outside."""
        return Minio(f"127.0.0.1:{self.port}", access_key=ACCESS_KEY, secret_key=SECRET_KEY, secure=False)

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        binary = find_minio()
        assert binary is not None, MISSING
        address = f"127.0.0.1:{self.port}"
        own = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off"}
        self.process = subprocess.Popen(
            [binary, "server", "--quiet", "--address", address, str(self.data)],
            env=os.environ | own | self.settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._ready():
            assert self.process.poll() is None and time.monotonic() < deadline, "MinIO did not start"
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/minio/health/cluster", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def __enter__(self) -> "MinioServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
