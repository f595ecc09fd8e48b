"""Generate completions with `transformers` or vLLM; also `python -m components.generate --model DIR "question"`.

`open_backend` loads a model once; its `batches` takes any number of rendered prompts and yields completions as
they finish. A completion ends at an end token, at the end of its answer line, or at the length limit.
"""

import argparse
import hashlib
import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from components import prompts, recipes
from components.files import read_json
from components.models import model_directory

# Rows leave the batch once at least this share of it has ended: moving the cache costs about one step.
_DROP_SHARE = 0.125


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn; the numbers come from the recipe."""

    max_new_tokens: int
    temperature: float  # 0: greedy
    batch_size: int  # completions generated together
    batch_tokens: int  # prompt and new tokens held in memory together, padding included
    gpu_memory_utilization: float  # share of the GPU's memory that vLLM takes


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt.

    `text` has no special tokens but the think tags; `tokens` counts generated tokens, the end token included;
    `finish_reason` is "stop" (end token or answer line) or "length".
    """

    text: str
    tokens: int
    finish_reason: str


class Backend(Protocol):
    """A loaded model."""

    def batches(self, texts: Sequence[str], seeds: Sequence[int]) -> Iterator[list[tuple[int, Completion]]]:
        """Complete rendered prompts, drawing with one seed each.

        Yields lists of (index into `texts`, completion) as they finish, longest prompts first.
        """
        ...


def open_backend(name: str, directory: Path, sampling: Sampling) -> Backend:
    """Load the model of `directory` for backend `transformers` or `vllm`; `ValueError` if it is not installed."""
    if name == "transformers":
        return TransformersBackend(directory, sampling)
    if name == "vllm":
        return VllmBackend(directory, sampling)
    raise ValueError(f"no backend {name!r}; valid ones: transformers, vllm")


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer of a model directory, padding on the left; `ValueError` if it has no chat template."""
    transformers = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, padding_side="left")
    if not tokenizer.chat_template:
        raise ValueError(f"{directory} has no chat template; save the tokenizer with one (chat_template.jinja)")
    return tokenizer


def plan_batches(lengths: Sequence[int], sampling: Sampling) -> Iterator[list[int]]:
    """Indices of prompts grouped by length, longest first, within the limits on rows and on tokens."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    while order:
        rows = max(1, sampling.batch_tokens // (lengths[order[0]] + sampling.max_new_tokens))
        batch, order = order[: min(rows, sampling.batch_size)], order[min(rows, sampling.batch_size) :]
        yield batch


class Text:
    """Turns token ids into completion text and says when the answer has been given."""

    def __init__(self, tokenizer: Any, end: set[int]) -> None:
        """`end` holds the ids that end a completion."""
        self.tokenizer, self.end = tokenizer, end
        tags = {tokenizer.convert_tokens_to_ids(tag) for tag in (prompts.OPEN, prompts.CLOSE)}
        # The think tags are special tokens in some vocabularies, and are judged all the same.
        self.hidden = (set(tokenizer.all_special_ids) | end) - tags
        self.newline: dict[int, bool] = {}

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids without special tokens, the think tags kept."""
        kept = [i for i in ids if i not in self.hidden]
        return self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def ends_line(self, token: int) -> bool:
        """Whether a token's text holds a newline, so that a line may have become whole."""
        if token not in self.newline:
            self.newline[token] = "\n" in self.tokenizer.decode([token])
        return self.newline[token]

    def answered(self, ids: Sequence[int], thinking: bool) -> bool:
        """Whether the last whole line of a text states an answer, outside the think block.

        `thinking` says whether the prompt has opened the block.
        """
        text = (prompts.OPEN if thinking else "") + self.decode(ids)
        if text.rfind(prompts.OPEN) > text.rfind(prompts.CLOSE):
            return False
        line = text.rpartition("\n")[0].rstrip().rpartition("\n")[2].lstrip(" *_`")
        return line.startswith(prompts.MARKER) and any(c.isdigit() for c in line)

    def ends(self, ids: Sequence[int], thinking: bool) -> bool:
        """Whether a completion is over with its last token."""
        return ids[-1] in self.end or (self.ends_line(ids[-1]) and self.answered(ids, thinking))

    def completion(self, ids: Sequence[int], stopped: bool) -> Completion:
        """The completion of generated ids, `stopped` when they ended by themselves."""
        return Completion(self.decode(ids), len(ids), "stop" if stopped else "length")


class TransformersBackend:
    """Batched decoding with `transformers`: left padding, one cache per batch, finished rows leave it."""

    def __init__(self, directory: Path, sampling: Sampling) -> None:
        """Load model and tokenizer: bfloat16 on a GPU, float32 on a CPU, scaled-dot-product attention."""
        import torch

        self.torch, self.sampling = torch, sampling
        self.tokenizer = load_tokenizer(directory)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = _load(directory, self.device)
        end = end_ids(directory, self.tokenizer)
        self.text = Text(self.tokenizer, end)
        self.pad = min(end) if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id

    def batches(self, texts: Sequence[str], seeds: Sequence[int]) -> Iterator[list[tuple[int, Completion]]]:
        """See `Backend.batches`; `ValueError` if a prompt exceeds the model's context."""
        ids = encode(self.tokenizer, texts)
        check_context(ids, self.sampling.max_new_tokens, getattr(self.model.config, "max_position_embeddings", None))
        for batch in plan_batches([len(row) for row in ids], self.sampling):
            thinking = [prompts.prefilled(texts[i]) for i in batch]
            generator = self.torch.Generator(self.device).manual_seed(_mix([seeds[i] for i in batch]))
            yield list(zip(batch, self._decode([ids[i] for i in batch], thinking, generator), strict=True))

    def _decode(self, rows: list[list[int]], thinking: list[bool], generator: Any) -> list[Completion]:
        """Complete one batch of token rows."""
        torch, limit = self.torch, self.sampling.max_new_tokens
        written: list[list[int]] = [[] for _ in rows]
        stopped = [False] * len(rows)
        alive = list(range(len(rows)))  # the row of `rows` that each row of the batch stands for
        with torch.inference_mode():
            state = _Batch(self, rows, limit)
            for step in range(limit):
                tokens = self._choose(state.logits, generator)
                for row, token in zip(alive, tokens.tolist(), strict=True):
                    if not stopped[row]:
                        written[row].append(token)
                        stopped[row] = self.text.ends(written[row], thinking[row])
                going = [k for k, row in enumerate(alive) if not stopped[row]]
                if not going or step == limit - 1:
                    break
                if len(alive) - len(going) >= _DROP_SHARE * len(alive):
                    keep = torch.tensor(going, device=self.device)
                    alive, tokens = [alive[k] for k in going], tokens[keep]
                    state.keep(keep)
                state.advance(tokens)
        return [self.text.completion(*row) for row in zip(written, stopped, strict=True)]

    def _choose(self, logits: Any, generator: Any) -> Any:
        """One token id per row of logits (batch, vocabulary)."""
        if self.sampling.temperature == 0:
            return logits.argmax(dim=-1)
        shares = (logits.float() / self.sampling.temperature).softmax(dim=-1)
        return self.torch.multinomial(shares, 1, generator=generator).squeeze(-1)


def _load(directory: Path, device: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=kind, attn_implementation="sdpa")
    return model.to(device).eval()


class _Batch:
    """The running state of one batch: cache, mask (batch, length) and the last logits (batch, vocabulary)."""

    def __init__(self, backend: TransformersBackend, rows: list[list[int]], new_tokens: int) -> None:
        from transformers import DynamicCache

        torch, device = backend.torch, backend.device
        width = max(len(row) for row in rows)
        ids = torch.tensor([[backend.pad] * (width - len(row)) + row for row in rows], device=device)
        # Room for the new tokens is made at once; only the first `width` columns are shown to the model.
        self.mask = torch.ones((len(rows), width + new_tokens), dtype=torch.long, device=device)
        for k, row in enumerate(rows):
            self.mask[k, : width - len(row)] = 0
        self.model, self.width = backend.model, width
        self.cache = DynamicCache(config=backend.model.config)
        self.positions = (self.mask[:, :width].cumsum(-1) - 1).clamp(min=0)
        self._forward(ids)

    def advance(self, tokens: Any) -> None:
        """Feed one token id per row."""
        self.width += 1
        self.positions = self.positions[:, -1:] + 1
        self._forward(tokens[:, None])

    def keep(self, rows: Any) -> None:
        """Drop all rows but those of an index tensor."""
        self.cache.reorder_cache(rows)
        self.mask, self.positions = self.mask[rows], self.positions[rows]

    def _forward(self, ids: Any) -> None:
        self.logits = self.model(
            input_ids=ids,
            attention_mask=self.mask[:, : self.width],
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]


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
        self.text = Text(self.tokenizer, end_ids(directory, self.tokenizer))
        self.engine: Any = None

    def batches(self, texts: Sequence[str], seeds: Sequence[int]) -> Iterator[list[tuple[int, Completion]]]:
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
            yield [(i, self._completion(output.outputs[0], prompts.prefilled(texts[i]))) for i, output in pairs]

    def _start(self, context: int) -> Any:
        return self.vllm.LLM(
            model=str(self.directory),
            dtype="bfloat16",
            max_model_len=context,
            max_num_seqs=self.sampling.batch_size,
            gpu_memory_utilization=self.sampling.gpu_memory_utilization,
            language_model_only=True,  # a vision-language checkpoint is asked for text alone
            generation_config="vllm",  # sampling is what the recipe says, not what the model's file suggests
        )

    def _parameters(self, seed: int) -> Any:
        return self.vllm.SamplingParams(
            temperature=self.sampling.temperature,
            max_tokens=self.sampling.max_new_tokens,
            seed=seed,
            stop_token_ids=sorted(self.text.end),
            detokenize=False,
        )

    def _completion(self, output: Any, thinking: bool) -> Completion:
        """The completion up to where the `transformers` backend would have ended it."""
        ids = list(output.token_ids)
        for count in range(1, len(ids) + 1):
            if self.text.ends(ids[:count], thinking):
                return self.text.completion(ids[:count], True)
        return self.text.completion(ids, output.finish_reason == "stop")


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of rendered prompts, which already hold their special tokens."""
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def end_ids(directory: Path, tokenizer: Any) -> set[int]:
    """The ids that end a completion: those of generation_config.json (else config.json) and the tokenizer's."""
    found: list[Any] = [tokenizer.eos_token_id]
    for name in ("generation_config.json", "config.json"):
        if (directory / name).exists() and (value := read_json(directory / name).get("eos_token_id")) is not None:
            found += value if isinstance(value, list) else [value]
            break
    ends = {i for i in found if i is not None}
    if not ends:
        raise ValueError(f"{directory} names no end token; set eos_token_id in generation_config.json")
    return ends


def check_context(ids: Sequence[Sequence[int]], new_tokens: int, limit: int | None) -> None:
    """Refuse prompts that leave no room for `new_tokens` in a context of `limit` tokens."""
    longest = max((len(row) for row in ids), default=0)
    if limit is not None and longest + new_tokens > limit:
        raise ValueError(
            f"a prompt of {longest} tokens and max_new_tokens={new_tokens} exceed the model's context of {limit}; "
            "lower max_new_tokens or leave out the 8-shot protocols"
        )


def _mix(seeds: Sequence[int]) -> int:
    """One seed for a batch, from the seeds of its rows."""
    digest = hashlib.sha256(",".join(map(str, seeds)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1  # torch and vLLM want 63 bits


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask one question from the command line: prints the reasoning, the answer and the speed."""
    settings = recipes.QWEN.evaluate
    parser = argparse.ArgumentParser(prog="python -m components.generate", description=main.__doc__)
    parser.add_argument("question")
    parser.add_argument("--model", required=True, help="model directory, Hub id, or tiny")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a Hub model")
    parser.add_argument("--max-new-tokens", type=int, default=settings.max_new_tokens)
    parser.add_argument("--temperature", type=float, default=settings.temperature, help="0: greedy")
    parser.add_argument("--seed", type=int, default=recipes.QWEN.seed)
    asked = parser.parse_args(arguments)
    sampling = Sampling(
        max_new_tokens=asked.max_new_tokens,
        temperature=asked.temperature,
        batch_size=1,
        batch_tokens=settings.batch_tokens,
        gpu_memory_utilization=settings.gpu_memory_utilization,
    )
    backend = TransformersBackend(model_directory(asked.model, asked.revision), sampling)
    prompt = prompts.render(backend.tokenizer, prompts.question_messages(asked.question))
    started = time.perf_counter()
    [[(_, completion)]] = backend.batches([prompt], [asked.seed])
    seconds = time.perf_counter() - started
    text = (f"{prompts.OPEN}\n" if prompts.prefilled(prompt) else "") + completion.text.rstrip()
    print(text)
    cut = ", cut off at the length limit" if completion.finish_reason == "length" else ""
    print(f"[{completion.tokens} tokens in {seconds:.1f} s{cut}]")


if __name__ == "__main__":
    main()
