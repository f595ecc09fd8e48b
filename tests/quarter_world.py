"""The world of the simulated quarter: sources that grow in a bucket, a run a week, and accidents at chosen moments."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from components.tiny.problems import Problem, problems, reasoning
from tests.minio_server import MinioServer

ROOT = Path(__file__).parents[1]
BUCKET = "quarter"
REGISTRY = f"s3://{BUCKET}/registry"
# The tiny recipe, as small as it still learns: some 80 s a run on two cores, most of them starting processes.
SIZES = {
    "evaluation": json.dumps([{"path": "tiny:evaluation", "adapter": "gsm8k"}]),
    "sft_max_steps": 30, "sft_learning_rate": 1e-3, "sft_warmup_steps": 5, "grpo_max_steps": 12,
    "grpo_temperature": 0.8, "evaluate_problems": 200, "evaluate_gate_problems": 0, "evaluate_protocols": "zero-shot",
    "standardize_gate_share": 0.12, "compare_bootstrap_samples": 200,
    "registry": REGISTRY, "keep_runs": 4, "keep_models": 1,
    "sources": json.dumps([
        {"name": "problems", "path": f"s3://{BUCKET}/data/problems.jsonl", "adapter": "gsm8k"},
        {"name": "traces", "path": f"s3://{BUCKET}/data/traces.jsonl", "adapter": "prompt-completion"},
    ]),
}  # fmt: skip


class Sources:
    """Two files in the bucket; every week somebody appends rows to them."""

    def __init__(self, server: MinioServer) -> None:
        self.client, self.random = server.client(), Random(13)
        self.pool: Iterator[Problem] = problems(self.random, 4000, evaluation=False)
        self.rows: dict[str, list[dict[str, Any]]] = {"problems": [], "traces": []}

    def add(self, *, problems: int = 0, guesses: int = 0, traces: int = 0, wrong: int = 0) -> None:
        """Append so many problems; traces that note the answer at once; that go step by step; that are wrong."""
        for problem in (next(self.pool) for _ in range(problems)):
            answer = f"{problem.worked(annotated=True)}\n#### {problem.gold}"
            self.rows["problems"].append({"question": problem.question, "answer": answer})
        for share, count in ((1.0, guesses), (0.0, traces)):
            for problem in (next(self.pool) for _ in range(count)):
                self.rows["traces"].append(_trace(problem, reasoning(problem, self.random, share), problem.gold))
        for problem in (next(self.pool) for _ in range(wrong)):
            guess = str(self.random.choice([n for n in range(1, 20) if str(n) != problem.gold]))
            self.rows["traces"].append(_trace(problem, f"At once: {guess}", guess) | {"wrong": True})
        self.upload()

    def mend(self) -> None:
        """Take the wrong traces out again."""
        self.rows["traces"] = [row for row in self.rows["traces"] if "wrong" not in row]

    def upload(self) -> None:
        """Put both files into the bucket."""
        for name, rows in self.rows.items():
            path = Path(self.directory, f"{name}.jsonl")
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            self.client.fput_object(BUCKET, f"data/{name}.jsonl", str(path))

    directory = "."  # where the files are written before they go up


def _trace(problem: Problem, thinking: str, answer: str) -> dict[str, Any]:
    return {"prompt": problem.question, "completion": f"<think>\n{thinking}\n</think>\n\n#### {answer}"}


class Gate:
    """A TCP relay before MinIO that can hold a request back, so that a process can be killed in mid-push."""

    def __init__(self, server: MinioServer) -> None:
        self.server, self.held, self.go, self.left = server, threading.Event(), threading.Event(), 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The address to be set as S3_ENDPOINT."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def hold_upload(self, number: int) -> None:
        """Hold back the upload number `number`, from now on, of a file below the registry's models."""
        self.left = number
        self.held.clear()
        self.go.clear()

    def let_go(self) -> None:
        """Let what is held back go on."""
        self.go.set()

    def _accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.server.port))
            for source, target, watched in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, target, watched), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, watched: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if watched and self.left and data.startswith(f"PUT /{BUCKET}/registry/models/".encode()):
                    self.left -= 1
                    if self.left == 0:
                        self.held.set()
                        self.go.wait()
                target.sendall(data)
        except OSError:  # the process at one end was killed
            pass
        finally:
            for end in (source, target):
                end.close()


class Week:
    """`pipeline.py run` as a schedule starts it, in a process of its own; use it in a with statement."""

    def __init__(self, output: Path, environment: dict[str, str], **changes: Any) -> None:
        sets = [f"--set={name}={value}" for name, value in {**SIZES, **changes}.items()]
        command = [sys.executable, "pipeline.py", "run", "--recipe", "tiny", "--output", str(output), *sets]
        self.output, self.started = output, time.monotonic()
        self.log = output.with_suffix(".log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> "Week":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def kill_step(self, step: str, when: Callable[[], bool]) -> bool:
        """Kill the process of a step with SIGKILL once `when` is true; False if the run ended without."""
        wait_for(lambda: self.process.poll() is not None or (self.step_process(step) is not None and when()))
        process = self.step_process(step)
        if process is not None:
            os.kill(process, signal.SIGKILL)
        return process is not None

    def step_process(self, step: str) -> int | None:
        """The process that runs a step of this run."""
        for pid in descendants(self.process.pid):
            words = command_of(pid)
            if words and "python" in words[0] and step in words and "--function_to_execute" in words:
                return pid
        return None

    def end(self) -> dict[str, Any]:
        """Wait for the end; the content of summary.json with the exit status and the seconds it took."""
        self.process.wait()
        summary = json.loads((self.output / "summary.json").read_text())
        seconds = time.monotonic() - self.started
        return summary | {"status": self.process.returncode, "wall_s": seconds}


def descendants(pid: int) -> Iterator[int]:
    """All processes below one."""
    try:
        children = [
            int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()
        ]
    except OSError:
        return
    for child in children:
        yield child
        yield from descendants(child)


def command_of(pid: int) -> list[str]:
    """The words of a process's command; empty if it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def wait_for(true: Callable[[], bool], seconds: float = 600) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@contextmanager
def world(directory: Path) -> Iterator[tuple[Sources, Gate, dict[str, str]]]:
    """MinIO with an empty bucket, the sources in it, the gate before it, and the environment of a run."""
    with MinioServer(directory / "minio") as server:
        server.client().make_bucket(BUCKET)
        sources, gate = Sources(server), Gate(server)
        sources.directory = str(directory)
        yield sources, gate, server.environment() | {"S3_ENDPOINT": gate.url}
