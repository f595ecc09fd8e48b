"""Completions to be made: which, under which key each is kept, and a backend that makes those that are missing."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.lib.generation import backends, prompts
from components.lib.generation.context import check_prompts
from components.lib.generation.decode import Asked, NotFinite
from components.lib.generation.loading import load_tokenizer
from components.lib.generation.partial import Partial
from components.lib.model.files import model_sha256
from components.lib.progress import Progress
from components.lib.recipe import schema


@dataclass(frozen=True)
class Request:
    """One completion to be made."""

    split: str
    protocol: str
    row: dict[str, Any]
    sample: int
    prompt: str
    key: str  # names model, prompt, settings and sample: what was finished under it need not run again


def solutions_of(
    problems: Sequence[dict[str, Any]], directory: Path, seed: int, settings: schema.Sample
) -> list[Request]:
    """Every solution to be drawn, asked zero-shot in the prompt format of training and evaluation."""
    tokenizer, fingerprint = load_tokenizer(directory), model_sha256(directory)
    requests = []
    for problem in problems:
        prompt = prompts.render(tokenizer, prompts.asking(problem))
        for number in range(settings.per_problem):
            key = request_key(fingerprint, prompt, number, seed, settings)
            requests.append(Request("problems", "zero-shot", problem, number, prompt, key))
    return requests


def complete(
    requests: Sequence[Request], directory: Path, partial: Partial, seed: int,
    settings: schema.Evaluate | schema.Sample, label: str, setting: str,
) -> None:  # fmt: skip
    """Generate what `partial` does not hold yet; the model is not loaded when nothing is missing.

    The step `sample` does so too; progress lines begin with `label`. `ValueError` if a prompt and so many new tokens as
    the recipe's `setting` allows exceed the model's context.
    """
    missing = list({request.key: request for request in requests if request.key not in partial.rows}.values())
    if len(missing) < len(requests):
        print(f"{label}: {len(requests) - len(missing)} of {len(requests)} completions were there already", flush=True)
    if not missing:
        return
    told = {request.prompt: f"{request.protocol} problem {request.row.get('id', '')}" for request in missing}
    check_prompts(directory, told, settings.max_new_tokens, setting)
    sampling = backends.Sampling(
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        batch_size=settings.batch_size,
        batch_tokens=settings.batch_tokens,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        graphs=settings.decode_graphs,
    )
    backend = backends.open_backend(settings.backend, directory, sampling)
    seeds = [_request_seed(request, seed) for request in missing]
    progress, tokens, last = Progress(label, "completions", len(missing)), 0, time.perf_counter()
    asked = [Asked.of(request.prompt, request.row) for request in missing]
    for batch in _named(directory, backend.batches([request.prompt for request in missing], asked, seeds)):
        now = time.perf_counter()
        seconds, last = (now - last) / len(batch), now
        partial.add({"key": missing[i].key, **asdict(completion), "seconds": seconds} for i, completion in batch)
        tokens += sum(completion.tokens for _, completion in batch)
        progress.add(len(batch), f"{tokens / progress.seconds:,.0f} tokens/s")


def _named(directory: Path, batches: Iterable[Any]) -> Iterator[Any]:
    """The batches; the error of a model whose weights are broken says where it lies."""
    try:
        yield from batches
    except NotFinite as error:
        raise NotFinite(f"{directory}: {error}; train it anew with a lower learning_rate, or take another") from None


def request_key(
    fingerprint: str, prompt: str, sample: int, seed: int, settings: schema.Evaluate | schema.Sample
) -> str:
    """The key of a `Request`."""
    drawn = [settings.temperature, sample, seed] if settings.temperature else [0.0, sample]
    parts = [fingerprint, text_sha256(prompt), settings.backend, settings.max_new_tokens, *drawn]
    return text_sha256(json.dumps(parts))


def _request_seed(request: Request, seed: int) -> int:
    """The same for every checkpoint, so that they draw alike."""
    digest = hashlib.sha256(f"{seed} {request.sample} {request.prompt}".encode()).digest()
    return int.from_bytes(digest[:7])


def text_sha256(text: str) -> str:
    """The SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
