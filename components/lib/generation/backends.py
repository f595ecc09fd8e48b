"""Generate completions with `transformers` or vLLM.

`open_backend` loads a model once; its `batches` takes any number of rendered prompts and yields completions as
they finish. A completion ends at an end token, at the end of its answer line, or at the length limit.
"""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from components.lib import gpu
from components.lib.files import read_json
from components.lib.generation import processes
from components.lib.generation.decode import Asked, Row, Text, mixed_seed
from components.lib.generation.graph_decode import decoder_for
from components.lib.generation.loading import check_cache, load_model, load_tokenizer
from components.lib.model.ends import ends_of

# The states of DeltaNet in fp32, as the trained model has them; vLLM's own choice is what the config.json of a
# vision-language checkpoint says, and bf16 for a text model.
VLLM_STATES = {"mamba_ssm_cache_dtype": "float32"}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn; the numbers come from the recipe."""

    max_new_tokens: int
    temperature: float  # 0: greedy
    batch_size: int  # completions generated together
    batch_tokens: int  # prompt and new tokens held in memory together, padding included
    gpu_memory_utilization: float  # share of the GPU's memory that vLLM takes
    graphs: bool = True  # whether steps on a GPU are replayed as CUDA graphs


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt.

    `text` has no special tokens but the think tags; `tokens` counts generated tokens, the end token included;
    `finish_reason` is "stop" (end token or answer line) or "length". `stopped_at_answer` says that the model went on
    after its answer line and was stopped there: served as it is, it would not have ended.
    """

    text: str
    tokens: int
    finish_reason: str
    stopped_at_answer: bool


class Backend(Protocol):
    """A loaded model."""

    tokenizer: Any
    sampling: Sampling

    def batches(
        self, texts: Sequence[str], asked: Sequence[Asked], seeds: Sequence[int]
    ) -> Iterator[list[tuple[int, Completion]]]:
        """Complete rendered prompts, drawing with one seed each.

        Yields lists of (index into `texts`, completion) as they finish, begun with the longest prompts.
        """
        ...


def open_backend(name: str, directory: Path, sampling: Sampling) -> Backend:
    """Load the model of `directory` for backend `transformers` or `vllm`; `ValueError` if it is not installed."""
    if name == "transformers":
        return TransformersBackend(directory, sampling)
    if name == "vllm":
        return VllmBackend(directory, sampling)
    raise ValueError(f"no backend {name!r}; valid ones: transformers, vllm")


def plan_batches(lengths: Sequence[int], sampling: Sampling) -> Iterator[list[int]]:
    """Indices of prompts grouped by length, longest first, within the limits on rows and on tokens.

    The prompts of a batch differ in length by at most half of `max_new_tokens`: see lib/generation/decode.py.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else lengths[index]
        rows = max(1, min(sampling.batch_size, sampling.batch_tokens // (longest + sampling.max_new_tokens)))
        if batch and (len(batch) == rows or longest - lengths[index] > sampling.max_new_tokens // 2):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


class TransformersBackend:
    """Batched decoding with `transformers`; how is said in lib/generation/decode.py."""

    def __init__(self, directory: Path, sampling: Sampling) -> None:
        """Load model and tokenizer: bfloat16 on a GPU, float32 on a CPU, scaled-dot-product attention."""
        import torch

        self.torch, self.sampling = torch, sampling
        self.tokenizer = load_tokenizer(directory)
        self.model = _load(directory, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.text = Text(self.tokenizer, set(ends_of(directory).ids))

    def batches(
        self, texts: Sequence[str], asked: Sequence[Asked], seeds: Sequence[int]
    ) -> Iterator[list[tuple[int, Completion]]]:
        """See `Backend.batches`."""
        ids = encode(self.tokenizer, texts)
        decoder = decoder_for(
            self.model, graphs=self.sampling.graphs, limit=self.sampling.max_new_tokens,
            temperature=self.sampling.temperature,
        )  # fmt: skip

        def write(batch: list[int]) -> list[tuple[int, Completion]]:
            rows = [Row(ids[i], partial(self.text.ends, asked=asked[i])) for i in batch]
            generator = self.torch.Generator(self.model.device).manual_seed(mixed_seed(*(seeds[i] for i in batch)))
            decoder.decode(self.model, rows, generator)
            return [(i, completion(self.text, row.written, row.why)) for i, row in zip(batch, rows, strict=True)]

        planned, several = list(plan_batches([len(row) for row in ids], self.sampling)), 1
        if self.model.device.type == "cpu":
            several = processes.count(len(planned), self.torch.get_num_threads())
        for _, made in processes.shared_out(planned, write, several):
            yield made


def _load(directory: Path, device: Any) -> Any:
    import torch
    from transformers.utils import logging

    if device.type == "cpu":
        logging.set_verbosity_error()  # it warns of missing GPU kernels, which a CPU cannot have
    for line in gpu.check(read_json(directory / "config.json"), training=False):
        print(line, flush=True)
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = load_model(directory, kind).to(device).eval()
    check_cache(model)
    return model


class VllmBackend:
    """Decoding with vLLM, which batches by itself; nothing of it is imported before this class is made."""

    def __init__(self, directory: Path, sampling: Sampling) -> None:
        """Remember what to load: the engine's context is sized by the prompts, so it starts with the first ones."""
        try:
            self.vllm = importlib.import_module("vllm")
        except ImportError as error:
            raise ValueError(
                f"backend 'vllm' needs vLLM here ({error}); install it or set backend=transformers"
            ) from error
        self.directory, self.sampling = directory, sampling
        self.tokenizer = load_tokenizer(directory)
        self.text = Text(self.tokenizer, set(ends_of(directory).ids))
        self.engine: Any = None

    def batches(
        self, texts: Sequence[str], asked: Sequence[Asked], seeds: Sequence[int]
    ) -> Iterator[list[tuple[int, Completion]]]:
        """See `Backend.batches`; in slices, so that a kill loses one slice at most."""
        ids = encode(self.tokenizer, texts)
        if ids and self.engine is None:
            self.engine = self._start(max(len(row) for row in ids) + self.sampling.max_new_tokens)
        order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
        size = 8 * self.sampling.batch_size  # several batches a slice: the scheduler refills the rows that end
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            outputs = self.engine.generate(
                [{"prompt_token_ids": ids[i]} for i in chosen],
                [self._parameters(seeds[i]) for i in chosen],
                use_tqdm=False,
            )
            pairs = zip(chosen, outputs, strict=True)
            yield [(i, self._completion(output.outputs[0], asked[i])) for i, output in pairs]

    def _start(self, context: int) -> Any:
        return self.vllm.LLM(
            model=str(self.directory),
            dtype="bfloat16",
            max_model_len=context,
            max_num_seqs=self.sampling.batch_size,
            gpu_memory_utilization=self.sampling.gpu_memory_utilization,
            language_model_only=True,  # a vision-language checkpoint is asked for text alone
            generation_config="vllm",  # sampling is what the recipe says, not what the model's file suggests
            **VLLM_STATES,
        )

    def _parameters(self, seed: int) -> Any:
        return self.vllm.SamplingParams(
            temperature=self.sampling.temperature,
            max_tokens=self.sampling.max_new_tokens,
            seed=seed,
            stop_token_ids=sorted(self.text.end),
            detokenize=False,
        )

    def _completion(self, output: Any, asked: Asked) -> Completion:
        """The completion up to where the `transformers` backend would have ended it."""
        ids = list(output.token_ids)
        for count in range(1, len(ids) + 1):
            if why := self.text.ends(ids[:count], asked):
                return completion(self.text, ids[:count], why)
        return completion(self.text, ids, "length")


def completion(text: Text, ids: Sequence[int], why: str) -> Completion:
    """The completion of generated ids that ended for the reason `why`: what `Text.ends` gave, or "length"."""
    kept = ids[:-1] if why == "answer" else ids
    reason = "length" if why == "length" else "stop"
    return Completion(text.decode(kept), len(kept), reason, why == "answer")


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of rendered prompts, which already hold their special tokens."""
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
