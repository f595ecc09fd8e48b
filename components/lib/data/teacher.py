"""Let a teacher model behind an API solve training problems; its right traces are a `chat` source for standardize.

A trace that arrives at the gold goes to the output, {"id", "sample", "messages", "gold", "teacher"}; any other goes to
OUTPUT.rejects.jsonl with its reason. Both are appended to as answers come, and what is in them is not asked again.
"""

import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.lib.data import adapters, checks
from components.lib.data.reasons import Refused
from components.lib.files import read_jsonl
from components.lib.generation.prompts import assistant_text, question_messages
from components.lib.retry import Transient, retry

KEY = "TEACHER_API_KEY"
TIMEOUT_S = 600
BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_INTERVAL_S = 10.0

Problem = dict[str, Any]


@dataclass
class Teacher:
    """An endpoint, asked at most `per_minute` times a minute.

    `api` is openai or anthropic; `url` ends before `/chat/completions` or `/messages`.
    """

    url: str
    api: str
    model: str
    key: str
    max_tokens: int
    per_minute: float
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def solve(self, problem: Problem) -> str:
        """The assistant's text for a problem, its reasoning in a think block; raises `Refused` or `ValueError`."""
        messages = question_messages(problem["question"])
        if self.api == "anthropic":
            body = {"system": messages[0]["content"], "messages": messages[1:]}
            answer = self._post("/messages", {"x-api-key": self.key, "anthropic-version": "2023-06-01"}, body)
            return _anthropic_text(answer)
        headers = {"Authorization": f"Bearer {self.key}"}
        return _openai_text(self._post("/chat/completions", headers, {"messages": messages}))

    def _post(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Any:
        data = json.dumps({"model": self.model, "max_tokens": self.max_tokens, **body}).encode()
        address = self.url.rstrip("/") + path
        request = urllib.request.Request(address, data, {"Content-Type": "application/json", **headers})
        try:
            return retry(lambda: self._send(request), f"teacher: {address}", _judge)
        except urllib.error.HTTPError as error:
            told = error.read(500).decode("utf-8", "replace")
            raise ValueError(f"{address} answers {error.code}: {told}; check --url, --model and {KEY}") from None
        except (urllib.error.URLError, OSError) as error:
            raise ValueError(f"{address} does not answer ({error}); check --url") from None

    def _send(self, request: urllib.request.Request) -> Any:
        self._wait()
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read())

    def _wait(self) -> None:
        """Sleep until this request's turn; tries count like requests."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + 60 / self.per_minute
        time.sleep(max(0.0, turn - time.monotonic()))


def run(given: Any) -> int:
    """The verb `teach`: ask with the arguments of the command line, and say how many traces are right.

    `ValueError` if TEACHER_API_KEY is not set, or the endpoint does not answer as it should.
    """
    if not os.environ.get(KEY):
        raise ValueError(f"set {KEY} to the key of {given.url}; any text will do for a server that asks for none")
    teacher = Teacher(given.url, given.api, given.model, os.environ[KEY], given.max_tokens, given.requests_per_minute)
    right, refused = teach(teacher, given.problems, given.output, samples=given.samples, workers=given.workers)
    print(f"{right:,} right traces were added to {given.output}, {refused:,} were refused")
    return 0


def teach(teacher: Teacher, problems: Path, output: Path, *, samples: int, workers: int) -> tuple[int, int]:
    """Ask for `samples` traces of each problem that are not there yet; returns (right, refused) of this call."""
    rejects = output.with_name(output.name + ".rejects.jsonl")
    done = {(row["id"], row["sample"]) for path in (output, rejects) for row in _finished(path)}
    asked = [
        (problem, sample) for problem in read_jsonl(problems) for sample in range(samples)
        if (problem["id"], sample) not in done
    ]  # fmt: skip
    print(f"teacher: {len(done):,} traces are there, {len(asked):,} to be asked for", flush=True)
    counts, said = [0, 0], time.monotonic()
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a") as right, rejects.open("a") as wrong, ThreadPoolExecutor(workers) as pool:
        try:
            for row in pool.map(lambda pair: _trace(teacher, *pair), asked):
                refused = "reason" in row
                counts[refused] += 1
                print(json.dumps(row, ensure_ascii=False), file=wrong if refused else right, flush=True)
                if time.monotonic() - said > _INTERVAL_S:
                    said = time.monotonic()
                    print(f"teacher: {sum(counts):,} of {len(asked):,}, {counts[0]:,} right", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return counts[0], counts[1]


def _trace(teacher: Teacher, problem: Problem, sample: int) -> dict[str, Any]:
    """The row of one answer: with messages if it is right and well formed, with a reason if not."""
    row = {"id": problem["id"], "sample": sample, "gold": problem["gold"], "teacher": teacher.model}
    text = ""
    try:
        text = teacher.solve(problem)
        turns = [{"role": "user", "content": problem["question"]}, {"role": "assistant", "content": text}]
        draft = adapters.chat({"messages": turns})
        checks.check_texts(draft)
        answer = checks.settled_answer(draft, problem["gold"])
    except Refused as refused:
        return row | {"reason": refused.reason, "completion": text} | refused.detail
    assistant = {"role": "assistant", "content": assistant_text(draft.reasoning, answer)}
    return row | {"messages": [*question_messages(draft.question), assistant]}


def _openai_text(answer: Any) -> str:
    """Content of the first choice; reasoning that comes in a field of its own is put in front as a think block."""
    try:
        choice = answer["choices"][0]
        message, stopped = choice["message"], choice.get("finish_reason")
    except (KeyError, IndexError, TypeError):
        raise ValueError(f"this is no chat completion: {str(answer)[:200]}; check --api and --url") from None
    if stopped == "length":
        raise Refused("too-long", stopped=stopped)
    thought = message.get("reasoning_content") or message.get("reasoning")
    content = message.get("content") or ""
    return assistant_text(thought, content) if thought else content


def _anthropic_text(answer: Any) -> str:
    """The text blocks; thinking blocks are put in front as a think block."""
    if not isinstance(answer, dict) or not isinstance(answer.get("content"), list):
        raise ValueError(f"this is no message: {str(answer)[:200]}; check --api and --url")
    if answer.get("stop_reason") == "max_tokens":
        raise Refused("too-long", stopped="max_tokens")
    thought = "\n".join(block["thinking"] for block in answer["content"] if block.get("type") == "thinking")
    content = "".join(block["text"] for block in answer["content"] if block.get("type") == "text")
    return assistant_text(thought, content) if thought else content


def _finished(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an earlier call; a last line that was cut when it died is removed."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    yield from read_jsonl(path)


def _judge(error: Exception) -> Transient | None:
    if isinstance(error, urllib.error.HTTPError):
        if error.code not in BUSY:
            return None
        asked = error.headers.get("Retry-After") or ""
        return Transient(f"status {error.code}", float(asked) if asked.isdigit() else None)
    return Transient(str(error)) if isinstance(error, (OSError, json.JSONDecodeError)) else None
