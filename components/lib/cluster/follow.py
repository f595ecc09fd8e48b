"""The log of a job's first Pod, passed on while it runs."""

import threading
from collections.abc import Callable
from typing import Any


class Follower:
    """Prints the lines of the first Pod as they come; `look` begins when there is a Pod, and again after a break."""

    def __init__(self, core: Any, namespace: str, pods: Callable[[], list[Any]]) -> None:
        self.core, self.namespace, self.pods = core, namespace, pods
        self.read = 0  # lines of the Pod that is followed
        self.pod = ""
        self.thread: threading.Thread | None = None

    def look(self) -> None:
        """Follow the first Pod if it has begun and nobody follows it."""
        if self.thread and self.thread.is_alive():
            return
        running = [pod for pod in self.pods()[:1] if pod.status.phase in ("Running", "Succeeded", "Failed")]
        if not running:
            return
        if running[0].metadata.name != self.pod:
            self.pod, self.read = running[0].metadata.name, 0
        self.thread = threading.Thread(target=self._follow, args=(self.pod,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Pass on what is left."""
        if self.thread:
            self.thread.join(timeout=10)
        if self.pod:
            self._follow(self.pod, stay=False)

    def _follow(self, pod: str, stay: bool = True) -> None:
        """Print the lines that were not read yet; a connection that breaks, or a Pod that goes, ends it."""
        import urllib3
        from kubernetes.client import ApiException

        skip = self.read
        try:
            answer = self.core.read_namespaced_pod_log(pod, self.namespace, follow=stay, _preload_content=False)
            for number, line in enumerate(answer):
                if number >= skip:
                    self.read = number + 1
                    print(line.decode(errors="replace").rstrip("\n"), flush=True)
        except (ApiException, urllib3.exceptions.HTTPError):
            return
