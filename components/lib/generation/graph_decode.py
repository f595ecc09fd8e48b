"""Decoding for a GPU, which would wait for Python at every token: steps of one shape over buffers that never move.

A step reads one token for each row, chooses the next and writes it down, all on the device. On a GPU it is captured
once for each number of rows as a CUDA graph and replayed; anywhere else, and with `captured` False, the same step runs
as it is. The host looks every POLL steps at what was written. The prompts are read as in lib/generation/decode.py, and
greedy completions are the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache

from components.lib import machine
from components.lib.generation.caches import Fixed, is_fixed
from components.lib.generation.decode import Decoder, NotFinite, Row, by_prompt
from components.lib.generation.loading import cached

LENGTH_STEP = 128  # a cache's length is rounded up to it, so that it rarely has to grow
SMALLEST = 8  # rows; below, moving costs more than it saves
POLL = 8  # steps between two looks of the host
WARM_UP = 3  # runs of a step before its capture, as PyTorch wants
OPEN = -1  # in `Slate.forced`: the model chooses


@dataclass
class Slate:
    """What a step of so many rows reads and writes; nothing of it is ever made anew.

    `position` (1) is where the last tokens stand; `ids` (rows, 1) are these tokens; `forced` (rows, length) are the
    prompts' own, OPEN beyond them; `written` (rows, length) is what stands where; `finite` (1) says whether all scores
    so far were numbers.
    """

    cache: Any
    position: torch.Tensor
    ids: torch.Tensor
    forced: torch.Tensor
    written: torch.Tensor
    finite: torch.Tensor
    step: Callable[[], None] = field(default=lambda: None)

    @staticmethod
    def of(cache: Any, rows: int, length: int, device: torch.device) -> "Slate":
        """An empty one."""
        long: dict[str, Any] = {"dtype": torch.long, "device": device}
        return Slate(
            cache=cache, position=torch.zeros(1, **long), ids=torch.zeros(rows, 1, **long),
            forced=torch.full((rows, length), OPEN, **long), written=torch.zeros(rows, length, **long),
            finite=torch.ones(1, dtype=torch.bool, device=device),
        )  # fmt: skip


class Buffers:
    """The caches of one model, which decoders of it may share."""

    def __init__(self) -> None:
        self.model: Any = None
        self.rows = 0
        self.fixed: Fixed | None = None

    def forget(self) -> None:
        """Give their memory back."""
        self.model, self.rows, self.fixed = None, 0, None


class GraphDecoder(Decoder):
    """Decoder whose steps have one shape."""

    def __init__(
        self, *, limit: int, temperature: float, top_p: float = 1.0, together: int | None = None,
        captured: bool = True, like: "GraphDecoder | None" = None,
    ) -> None:  # fmt: skip
        """`like` is a decoder whose caches this one shares."""
        super().__init__(limit=limit, temperature=temperature, top_p=top_p, together=together)
        self.captured = captured
        self.buffers: Buffers = like.buffers if like else Buffers()
        self.fixed: Fixed | None = None  # that the slates were made for
        self.slates: dict[int, Slate] = {}  # by rows
        self.generator: Any = None  # of the draws; a graph remembers which one it was captured with

    def forget(self) -> None:
        """Give the memory of caches and graphs back."""
        self.slates.clear()
        self.fixed = None
        self.buffers.forget()

    def _write(self, model: Any, rows: list[Row], generator: Any) -> None:
        """Write the completions of `rows` in step; see `Decoder`."""
        distinct = [place[0] for place in by_prompt(rows)]
        numbers = {tuple(row.prompt): number for number, row in enumerate(distinct)}
        shortest, longest = (measure(len(row.prompt) for row in rows) for measure in (min, max))
        self._draw_as(generator, model.device)
        with torch.inference_mode():
            read, scores = self._prefill(model, [row.prompt for row in distinct])
            if not torch.isfinite(scores).all():
                raise NotFinite("the model answers its prompts with NaN or infinite logits; its weights are broken")
            where = padded([numbers[tuple(row.prompt)] for row in rows], rows_of(len(rows)))
            index = torch.tensor(where, device=model.device)
            self._prepare(model, read, index, shortest, longest + self.limit)
            slate = self._filled(read, index, shortest)
            slate.forced.copy_(_prompts(padded(rows, len(where)), slate.forced))
            slate.finite.fill_(True)
            slate.position.fill_(shortest - 1)
            self._put(slate, scores[index])
            del read, scores
            self._go_on(rows, slate, shortest, longest + self.limit - 1)
        generator.set_state(self.generator.get_state())

    def _go_on(self, rows: list[Row], slate: Slate, position: int, last: int) -> None:
        """Write what follows the tokens at `position`, up to those at `last`, until every row is complete."""
        told = position  # the first position that the host has not seen
        while True:
            for offset, tokens in enumerate(slate.written[:, told : position + 1].T.tolist()):
                for row, token in zip(rows, tokens, strict=False):  # there may be more places than rows
                    row.take(told + offset, token, self.limit)
            if not slate.finite.item():
                raise NotFinite("the model's logits are NaN or infinite; its weights are broken")
            going = [number for number, row in enumerate(rows) if not row.why]
            if not going:
                return
            if rows_of(len(going)) < len(slate.ids):
                rows = [rows[number] for number in going]
                slate = self._moved(slate, padded(going, rows_of(len(rows))), position)
            told, steps = position + 1, min(POLL, last - position)
            for _ in range(steps):
                slate.step()
            position += steps

    def _draw_as(self, generator: Any, device: torch.device) -> None:
        """Go on with the draws of `generator`."""
        if self.generator is None or self.generator.device.type != device.type:
            self.generator = torch.Generator(device)
        self.generator.set_state(generator.get_state())

    def _prepare(self, model: Any, read: Any, index: torch.Tensor, position: int, length: int) -> None:
        """Have slates for so many rows and tokens, and for every smaller number of rows.

        They are made and captured before a row's cache is filled for good, since a warm-up writes into the buffers.
        """
        buffers, drawn = self.buffers, self.generator.get_state()
        fits = (
            buffers.fixed and buffers.model is model and buffers.rows >= len(index) and buffers.fixed.length >= length
        )
        if not fits:
            length = max(length, buffers.fixed.length if buffers.fixed else 0)
            rows = max(len(index), buffers.rows)
            self.forget()
            buffers.model, buffers.rows = model, rows
            buffers.fixed = Fixed(model.config, -(-(length + WARM_UP) // LENGTH_STEP) * LENGTH_STEP)
        if self.fixed is buffers.fixed:
            return
        assert buffers.fixed
        self.slates.clear()
        self.fixed = buffers.fixed
        if self.captured and model.device.type == "cuda":
            told = ", ".join(map(str, sizes(buffers.rows)))
            print(f"decoding: graphs of a step for {told} rows; what Triton's cache lacks is tuned first", flush=True)
        for rows in sizes(buffers.rows):
            cache = self.fixed.fill(rows, read, index.repeat(-(-rows // len(index)))[:rows], position)
            slate = Slate.of(cache, rows, self.fixed.length, model.device)
            slate.step = self._captured(model, slate, position)
            self.slates[rows] = slate
        self.generator.set_state(drawn)

    def _captured(self, model: Any, slate: Slate, position: int) -> Callable[[], None]:
        """A step of a slate: on a GPU a graph that replays it, else the step itself."""
        step = partial(self._step, model, slate)
        if not (self.captured and slate.ids.is_cuda):
            return step
        slate.position.fill_(position)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        try:
            with torch.cuda.graph(graph):
                step()
        except Exception as error:
            if machine.out_of_memory(error):
                raise
            self.captured = False
            print(f"decoding goes on without CUDA graphs, several times slower: {error}", flush=True)
            return step
        return graph.replay

    def _cache(self, config: Any) -> Any:
        return DynamicCache(config=config)  # it is read once and copied: no room is needed

    def _step(self, model: Any, slate: Slate) -> None:
        """Read the last tokens, and write the next ones behind them."""
        self._put(slate, model(input_ids=slate.ids, **cached(model, slate.cache), logits_to_keep=1).logits[:, -1])

    def _put(self, slate: Slate, scores: torch.Tensor) -> None:
        """Write the next token of each row, the prompt's own or one chosen by scores (rows, vocabulary)."""
        for end in scores.aminmax():  # which are NaN if any score is
            slate.finite.logical_and_(torch.isfinite(end))
        chosen = self._choose(scores, self.generator)
        slate.position.add_(1)
        forced = slate.forced.index_select(1, slate.position)
        slate.ids.copy_(torch.where(forced == OPEN, chosen[:, None], forced))
        slate.written.index_copy_(1, slate.position, slate.ids)

    def _filled(self, source: Any, index: torch.Tensor, position: int) -> Slate:
        """The slate of so many rows with rows `index` of a cache, whose first `position` tokens are read."""
        assert self.fixed
        self.fixed.fill(len(index), source, index, position)
        return self.slates[len(index)]

    def _moved(self, slate: Slate, where: list[int], position: int) -> Slate:
        """A smaller slate that goes on with some rows of another one."""
        index = torch.tensor(where, device=slate.ids.device)
        smaller = self._filled(slate.cache, index, position)
        for mine, theirs in ((smaller.ids, slate.ids), (smaller.forced, slate.forced)):
            mine.copy_(theirs[index])
        smaller.finite.fill_(True)
        smaller.position.fill_(position)
        return smaller


def decoder_for(model: Any, *, graphs: bool, like: Decoder | None = None, **settings: Any) -> Decoder:
    """The decoder for a model where it lies: by graphs on a GPU unless `graphs` is False, else token by token.

    Models with layers that have no cache of one size, such as sliding windows, are decoded token by token. `settings`
    are those of `Decoder`; `like` is a decoder whose buffers it may share.
    """
    if graphs and model.device.type == "cuda" and is_fixed(model.config):
        return GraphDecoder(**settings, like=like if isinstance(like, GraphDecoder) else None)
    return Decoder(**settings)


def sizes(rows: int) -> list[int]:
    """The numbers of rows that there are graphs for, from `rows` down."""
    return [count for count in (rows >> shift for shift in range(rows.bit_length())) if count >= SMALLEST]


def rows_of(count: int) -> int:
    """The places for so many rows: the next power of two, at least SMALLEST."""
    return max(SMALLEST, 1 << (count - 1).bit_length())


def padded(values: list[Any], size: int) -> list[Any]:
    """The values, the first one repeated up to `size`."""
    return values + [values[0]] * (size - len(values))


def _prompts(rows: list[Row], like: torch.Tensor) -> torch.Tensor:
    """The prompts' tokens in the shape (rows, length) and on the device of `like`, OPEN beyond them."""
    length = like.shape[1]
    values = [row.prompt + [OPEN] * (length - len(row.prompt)) for row in rows]
    return torch.tensor(values, dtype=torch.long, device=like.device)
