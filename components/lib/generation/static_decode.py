"""Decoding with a static cache and a compiled step, for a GPU that waits for Python at every token.

The shapes must not change from step to step, so rows stay in the batch until half of it has ended; then the rest
moves to a cache of half the size. Each size is compiled once. The results are those of lib/generation/decode.py, whose
prompts are read the same way.
"""

import itertools
from typing import Any

from components.lib.generation.decode import Decoder, NotFinite, Row, by_prompt
from components.lib.generation.loading import cached

LENGTH_STEP = 128  # a cache's length is rounded up to it, so that it rarely has to grow
SMALLEST = 8  # rows; below, moving costs more than it saves


class StaticDecoder(Decoder):
    """Decoder whose steps have one shape; `compiled` False runs the same steps without a compiler."""

    def __init__(
        self, *, limit: int, temperature: float, top_p: float = 1.0, together: int | None = None,
        compiled: bool = True, like: "StaticDecoder | None" = None,
    ) -> None:  # fmt: skip
        """`like` is a decoder whose caches and compiled steps this one shares."""
        super().__init__(limit=limit, temperature=temperature, top_p=top_p, together=together)
        self.compiled = compiled
        self.steps: dict[int, Any] = like.steps if like else {}  # by model
        self.caches: dict[tuple[int, int], Any] = like.caches if like else {}  # by rows and length

    def _write(self, model: Any, rows: list[Row], generator: Any) -> None:
        """Write the completions of `rows` in step; see `Decoder`."""
        torch, device = self.torch, model.device
        distinct = [place[0] for place in by_prompt(rows)]
        numbers = {tuple(row.prompt): number for number, row in enumerate(distinct)}
        shortest, longest = (measure(len(row.prompt) for row in rows) for measure in (min, max))
        length = self._length(longest + self.limit)
        with torch.inference_mode():
            read, logits = self._prefill(model, [row.prompt for row in distinct])
            if not torch.isfinite(logits).all():
                raise NotFinite("the model answers its prompts with NaN or infinite logits; its weights are broken")
            where = padded([numbers[tuple(row.prompt)] for row in rows], rows_of(len(rows)))
            cache, logits = (
                self._moved(model, read, where, length, shortest),
                logits[torch.tensor(where, device=device)],
            )
            for position in itertools.count(shortest):
                chosen = self._choose(logits, generator).tolist()[: len(rows)]
                tokens = [row.take(position, token, self.limit) for row, token in zip(rows, chosen, strict=True)]
                going = [k for k, row in enumerate(rows) if not row.why]
                if not going:
                    break
                if rows_of(len(going)) < len(logits):
                    rows, tokens = [rows[k] for k in going], [tokens[k] for k in going]
                    cache = self._moved(model, cache, padded(going, rows_of(len(rows))), length, position)
                ids = torch.tensor(padded(tokens, rows_of(len(rows))), device=device)[:, None]
                logits = self._step(model)(input_ids=ids, **cached(model, cache)).logits[:, -1]
                logits = logits.clone()  # a CUDA graph writes its next result to the same place

    def forget(self) -> None:
        """Give the memory of the caches back."""
        self.caches.clear()

    def _length(self, needed: int) -> int:
        """The length of all caches: that of those which are there, unless they are too short."""
        length = max((length for _, length in self.caches), default=0)
        if length < needed:
            self.forget()
            length = -(-needed // LENGTH_STEP) * LENGTH_STEP
        return length

    def _step(self, model: Any) -> Any:
        """The model's forward pass, compiled once."""
        if not self.compiled:
            return model
        if id(model) not in self.steps:
            self.steps[id(model)] = self.torch.compile(model, mode="reduce-overhead", dynamic=False)
        return self.steps[id(model)]

    def _moved(self, model: Any, source: Any, where: list[int], length: int, position: int) -> Any:
        """A static cache with rows `where` of another cache, whose first `position` tokens are read."""
        from transformers import StaticCache

        key = (len(where), length)
        if key not in self.caches:
            self.caches[key] = StaticCache(config=model.config, max_cache_len=length)
        index = self.torch.tensor(where, device=model.device)
        for mine, theirs in zip(self.caches[key].layers, source.layers, strict=True):
            if hasattr(theirs, "recurrent_states"):
                _copy_states(mine, theirs, index)
            else:
                _copy_keys(mine, theirs, index, position)
        return self.caches[key]


def rows_of(count: int) -> int:
    """The rows of the cache for so many: the next power of two, at least SMALLEST."""
    return max(SMALLEST, 1 << (count - 1).bit_length())


def padded(values: list[int], size: int) -> list[int]:
    """The values, the first one repeated up to `size`."""
    return values + [values[0]] * (size - len(values))


def _copy_keys(mine: Any, theirs: Any, index: Any, position: int) -> None:
    keys, values = (part[index, :, :position] for part in (theirs.keys, theirs.values))
    if not mine.is_initialized:
        mine.lazy_initialization(keys, values)
    mine.keys[:, :, :position].copy_(keys)
    mine.values[:, :, :position].copy_(values)
    mine.cumulative_length.fill_(position)


def _copy_states(mine: Any, theirs: Any, index: Any) -> None:
    for number in range(theirs.number_of_states):
        convolution, recurrent = theirs.conv_states[number], theirs.recurrent_states[number]
        if not mine.is_conv_states_initialized[number]:
            mine.lazy_initialization(conv_states=convolution[index], state_idx=number)
            mine.lazy_initialization(recurrent_states=recurrent[index], state_idx=number)
            mine.device = convolution.device
        mine.conv_states[number].copy_(convolution[index])
        mine.recurrent_states[number].copy_(recurrent[index])
        mine.has_previous_state[number] = True
