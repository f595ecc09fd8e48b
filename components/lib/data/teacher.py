"""Let a teacher model behind an API solve training problems; its right traces are a `chat` source for standardize.

A trace that ends in the gold goes to the output, {"id", "sample", "messages", "gold", "teacher"}; any other goes to
OUTPUT.rejects.jsonl with its reason. Both are appended to as answers come, and what is in them is not asked again.
"""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from components.lib.answers import checker
from components.lib.data import adapters, checks
from components.lib.data.gold import Gold
from components.lib.data.markers import KNOWN
from components.lib.data.reasons import Refused
from components.lib.files import read_jsonl, resumed_rows
from components.lib.generation.prompts import asking, assistant_text
from components.lib.progress import Progress

KEY = "TEACHER_API_KEY"
TIMEOUT_S = 600
RETRIES = 6  # of a request to a server that is busy or does not answer, some 24 s in all

Problem = dict[str, Any]


class Teacher:
    """A model behind an OpenAI-compatible endpoint, asked at most `per_minute` times a minute, further tries included.

    `url` ends before `/chat/completions`, as https://api.openai.com/v1 or https://api.anthropic.com/v1.
    """

    def __init__(self, url: str, model: str, key: str, max_tokens: int, per_minute: float) -> None:
        import openai

        self.url, self.model, self.max_tokens = url, model, max_tokens
        self.pause_s, self.next, self.lock = 60 / per_minute, 0.0, threading.Lock()
        http = openai.DefaultHttpxClient(event_hooks={"request": [self._wait], "response": [_say_busy]})
        self.client = openai.OpenAI(base_url=url, api_key=key, max_retries=RETRIES, timeout=TIMEOUT_S, http_client=http)

    def solve(self, problem: Problem) -> str:
        """The assistant's text for a problem, its reasoning in a think block; raises `Refused` or `ValueError`."""
        import openai

        messages: Any = asking(problem)
        try:
            answer = self.client.chat.completions.create(
                model=self.model, messages=messages, max_tokens=self.max_tokens
            )
        except openai.APIStatusError as error:
            told = f"{error.status_code}: {error.response.text[:500]}"
            raise ValueError(f"{self.url} answers {told}; check --url, --model and {KEY}") from None
        except openai.APIConnectionError as error:
            raise ValueError(f"{self.url} does not answer ({error.__cause__ or error}); check --url") from None
        except ValueError as error:
            raise ValueError(f"{self.url} gives no JSON ({error}); check --url and --model") from None
        try:
            choice = answer.choices[0]
            message, content = choice.message, choice.message.content or ""
        except (AttributeError, TypeError, IndexError):  # the SDK does not look into what it is given
            raise ValueError(
                f"{self.url} gives no chat completion but {str(answer)[:200]}; check --url and --model"
            ) from None
        if choice.finish_reason == "length":
            raise Refused("too-long", stopped="length")
        thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
        return assistant_text(thought, content) if thought else content

    def _wait(self, _: Any) -> None:
        """Sleep until this request's turn."""
        with self.lock:
            turn = max(self.next, time.monotonic())
            self.next = turn + self.pause_s
        time.sleep(max(0.0, turn - time.monotonic()))


def run(given: Any) -> int:
    """The verb `teach`: ask with the arguments of the command line, and say how many traces are right.

    `ValueError` if TEACHER_API_KEY is not set, or the endpoint does not answer as it should.
    """
    if not os.environ.get(KEY):
        raise ValueError(f"set {KEY} to the key of {given.url}; any text will do for a server that asks for none")
    teacher = Teacher(given.url, given.model, os.environ[KEY], given.max_tokens, given.requests_per_minute)
    right, refused = teach(teacher, given.problems, given.output, samples=given.samples, workers=given.workers)
    print(f"{right:,} right traces were added to {given.output}, {refused:,} were refused")
    return 0


def teach(teacher: Teacher, problems: Path, output: Path, *, samples: int, workers: int) -> tuple[int, int]:
    """Ask for `samples` traces of each problem that are not there yet; returns (right, refused) of this call."""
    rejects = output.with_name(output.name + ".rejects.jsonl")
    done = {(row["id"], row["sample"]) for path in (output, rejects) for row in resumed_rows(path)}
    checker.install(problems.parent)
    pairs = [(problem, sample) for problem in read_jsonl(problems) for sample in range(samples)]
    missing = [(problem, sample) for problem, sample in pairs if (problem["id"], sample) not in done]
    print(f"teacher: {len(done):,} traces are there, {len(missing):,} to be asked for", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    counts, progress = [0, 0], Progress("teacher", "answers", len(missing))
    # An answer that was cut may end in half a character; what replaces it is how JSON writes it.
    form: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
    with (
        output.open("a", **form) as right,
        rejects.open("a", **form) as wrong,
        ThreadPoolExecutor(workers) as pool,
    ):
        try:
            for row in pool.map(lambda pair: _trace(teacher, *pair), missing):
                refused = "reason" in row
                counts[refused] += 1
                print(json.dumps(row, ensure_ascii=False), file=wrong if refused else right, flush=True)
                progress.add(1, f"{counts[0]:,} right")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return counts[0], counts[1]


def _say_busy(answer: Any) -> None:
    if answer.status_code == 429 or answer.status_code >= 500:
        print(f"teacher: {answer.url} answers {answer.status_code}", flush=True)


def _trace(teacher: Teacher, problem: Problem, sample: int) -> dict[str, Any]:
    """The row of one answer: with messages if it is right and well formed, with a reason if not."""
    row = {"id": problem["id"], "sample": sample, "gold": problem["gold"], "teacher": teacher.model}
    text = ""
    try:
        text = teacher.solve(problem)
        turns = [{"role": "user", "content": problem["question"]}, {"role": "assistant", "content": text}]
        draft = adapters.chat(KNOWN.without_end({"messages": turns})[0])
        checks.check_texts(draft, KNOWN)
        answer = checks.settled_answer(draft, Gold.of(problem))
    except Refused as refused:
        return row | {"reason": refused.reason, "completion": text} | refused.detail
    assistant = {"role": "assistant", "content": assistant_text(draft.reasoning, answer)}
    return row | {"messages": [*asking(problem), assistant]}
