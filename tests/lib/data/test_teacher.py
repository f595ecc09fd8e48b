"""The teacher command against a local server that speaks the API."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.lib.data.teacher import Teacher, teach
from components.lib.files import read_jsonl
from components.lib.recipe.schema import Source
from tests import ROOT
from tests.fixtures.rows import good, run, write


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[float, dict, dict]] = []
        self.busy = 0
        self.answers: dict[str, tuple[str, str]] = {}  # question -> (reasoning, answer)
        self.field, self.stopped = "reasoning_content", "stop"
        self.body: bytes | None = None  # sent instead of an answer
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((time.monotonic(), dict(self.headers), body))
        if self.server.busy > 0:
            self.server.busy -= 1
            return self._send(429, {"error": "slow down"})
        if "secret" not in str(self.headers):
            return self._send(401, {"error": "who are you?"})
        thought, answer = self.server.answers[body["messages"][-1]["content"]]
        message = {"role": "assistant", "content": answer, self.server.field: thought}
        if not self.server.field:
            message["content"] = f"<think>{thought}</think>{answer}"
        assert self.path == "/v1/chat/completions"
        self._send(200, {"choices": [{"message": message, "finish_reason": self.server.stopped}]}, self.server.body)

    def _send(self, status: int, value: dict, body: bytes | None = None) -> None:
        data = json.dumps(value).encode() if body is None else body
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as found:
        threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture
def problems(server: _Server, tmp_path: Path) -> Path:
    source = Source(path=write(tmp_path / "p.jsonl", good("gsm8k", 12)), name="p", adapter="gsm8k")
    rows = run(tmp_path / "data", source, plateau_share=0.0, gate_share=0.0)["problems"]
    for n, row in enumerate(rows):
        server.answers[row["question"]] = (
            row["solution"],
            f"The answer is {row['gold']}." if n else "The answer is 77.",
        )
    return tmp_path / "data" / "out" / "problems.jsonl"


def _teacher(server: _Server, key: str = "secret", per_minute: float = 1e6) -> Teacher:
    return Teacher(server.url, "wise", key, 100, per_minute)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", ""])
def test_right_traces_become_a_source(
    field: str, server: _Server, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    count = len(list(read_jsonl(problems)))
    server.busy, server.field = 1, field
    output = tmp_path / "traces.jsonl"
    assert teach(_teacher(server), problems, output, samples=1, workers=2) == (count - 1, 1)
    said = capsys.readouterr().out
    assert "answers 429" in said and f"teacher: {count} of {count}" in said and f"{count - 1} right" in said
    assert [row["reason"] for row in read_jsonl(tmp_path / "traces.jsonl.rejects.jsonl")] == ["contradicts-gold"]
    assert all(body["model"] == "wise" and body["max_tokens"] == 100 for _, _, body in server.asked)

    found = run(
        tmp_path / "again", Source(path=str(tmp_path / "p.jsonl"), name="p", adapter="gsm8k"),
        Source(path=str(output), name="teacher", adapter="chat"), plateau_share=0.0, gate_share=0.0,
    )  # fmt: skip
    assert len(found["sft"]) == count - 1 and all(row["gold"] for row in found["sft"])


def test_an_end_token_of_the_teacher_is_cut_and_a_turn_that_it_began_refused(
    server: _Server, problems: Path, tmp_path: Path
) -> None:
    asked = list(read_jsonl(problems))
    for row, end in zip(asked[:2], ("</s>", "\n\nHuman: And now?"), strict=True):
        server.answers[row["question"]] = (row["solution"], f"#### {row['gold']}{end}")
    teach(_teacher(server), problems, tmp_path / "t.jsonl", samples=1, workers=1)
    right = {row["id"]: row["messages"][-1]["content"] for row in read_jsonl(tmp_path / "t.jsonl")}
    refused = {row["id"]: row["reason"] for row in read_jsonl(tmp_path / "t.jsonl.rejects.jsonl")}
    assert right[asked[0]["id"]].endswith(f"\n#### {asked[0]['gold']}")
    assert refused == {asked[1]["id"]: "special-token"}


def test_a_second_call_asks_only_for_what_is_missing(server: _Server, problems: Path, tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    teach(_teacher(server), problems, output, samples=1, workers=1)
    first, before = output.read_bytes(), len(server.asked)
    output.write_bytes(first[:-10])  # the last line was cut
    teach(_teacher(server), problems, output, samples=1, workers=1)
    assert len(server.asked) == before + 1 and output.read_bytes() == first


def test_requests_keep_to_the_rate(server: _Server, problems: Path, tmp_path: Path) -> None:
    teach(_teacher(server, per_minute=1200), problems, tmp_path / "t.jsonl", samples=1, workers=4)
    times = [at for at, _, _ in server.asked]
    # the first may arrive an interval late
    assert times[-1] - times[0] >= 0.05 * (len(times) - 2)


def test_an_answer_that_was_cut_off_is_refused(server: _Server, problems: Path, tmp_path: Path) -> None:
    server.stopped = "length"
    count = len(list(read_jsonl(problems)))
    assert teach(_teacher(server), problems, tmp_path / "t.jsonl", samples=1, workers=2) == (0, count)
    assert {row["reason"] for row in read_jsonl(tmp_path / "t.jsonl.rejects.jsonl")} == {"too-long"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "gives no chat completion but .*; check --url and --model"),
        (b'{"choices": []}', "gives no chat completion but .*; check --url and --model"),
        (b"[1]", "gives no chat completion but .*; check --url and --model"),
        (b"<html>", "gives no JSON .*; check --url and --model"),
    ],
)
def test_what_is_no_chat_completion_is_one_error(
    body: bytes, message: str, server: _Server, problems: Path, tmp_path: Path
) -> None:
    server.body = body
    with pytest.raises(ValueError, match=message):
        teach(_teacher(server), problems, tmp_path / "t.jsonl", samples=1, workers=1)


def test_a_server_that_is_not_there_is_one_error(problems: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("components.lib.data.teacher.RETRIES", 1)
    nobody = Teacher("http://127.0.0.1:9/v1", "wise", "secret", 100, 1e6)
    with pytest.raises(ValueError, match=r"127.0.0.1:9/v1 does not answer \(.*refused.*\); check --url"):
        teach(nobody, problems, tmp_path / "t.jsonl", samples=1, workers=1)


def test_the_command_says_what_is_wrong(server: _Server, problems: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "pipeline.py", "teach", "--url", server.url, "--model", "wise", "--problems", str(problems),
        "--output", str(tmp_path / "t.jsonl"), "--samples", "1", "--max-tokens", "99", "--requests-per-minute", "6000",
        "--workers", "2",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "TEACHER_API_KEY"}
    for key, message in (
        (None, "set TEACHER_API_KEY"),
        ("wrong", "answers 401"),
        ("secret", "right traces were added"),
    ):
        extra = {} if key is None else {"TEACHER_API_KEY": key}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment | extra)
        assert message in done.stdout + done.stderr and "Traceback" not in done.stderr
        assert (done.returncode == 0) == (key == "secret")
