"""Caches that are not copied at every step: with room to spare, or of one size for good."""

from typing import Any

import torch
from transformers import DynamicCache, StaticCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, LinearAttentionLayer, StaticLayer

SPARE = 64  # tokens, or a quarter of what is held, for which a cache that grows has room


class RoomyLayer(DynamicLayer):
    """Keys and values (rows, heads, tokens, size) in buffers with room to spare.

    A DynamicLayer copies all that it holds whenever a token comes; this one only when the room is used up, and holds
    the same values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rooms: list[torch.Tensor] = []  # of which keys and values are the beginning; empty where they are not

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        total = held + key_states.shape[-2]
        states = (key_states, value_states)
        if not self.rooms or total > self.rooms[0].shape[-2]:
            length = total + max(SPARE, total // 4)
            self.rooms = [_room(old, new, held, length) for old, new in zip(self._parts(), states, strict=True)]
        for room, new in zip(self.rooms, states, strict=True):
            room[:, :, held:total] = new
        self.keys, self.values = (room[:, :, :total] for room in self.rooms)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Keep these rows, in this order."""
        super().reorder_cache(beam_idx)
        self.rooms = []

    def _parts(self) -> tuple[Any, Any]:
        return self.keys, self.values


def _room(old: torch.Tensor, new: torch.Tensor, held: int, length: int) -> torch.Tensor:
    """A buffer for so many tokens that begins with the `held` ones of `old`."""
    rows, heads, _, size = new.shape
    room = new.new_empty(rows, heads, length, size)
    if held:
        room[:, :, :held] = old
    return room


def growing(config: Any) -> DynamicCache:
    """A cache that grows with what is read; only layers of full attention have room to spare."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def is_fixed(config: Any) -> bool:
    """Whether all layers of a model have caches whose buffers are of one size and hold every token."""
    kinds = {type(layer) for layer in StaticCache(config=config, max_cache_len=SPARE).layers}
    return kinds <= {StaticLayer, LinearAttentionLayer}


class Fixed:
    """Caches of one length whose buffers never move: `of(n)` is the cache of the first n rows of the same buffers.

    So a graph that was captured for n rows stays right, and fewer rows cost no memory of their own.
    """

    def __init__(self, config: Any, length: int) -> None:
        """`length` in tokens, prompt and completion together."""
        self.config, self.length = config, length
        self.caches: dict[int, StaticCache] = {}

    def of(self, rows: int) -> StaticCache:
        """The cache of the first `rows` rows; the largest number must be asked for, and filled, first."""
        if rows not in self.caches:
            cache = StaticCache(config=self.config, max_cache_len=self.length)
            if self.caches:
                largest = self.caches[max(self.caches)]
                assert rows < max(self.caches), "the largest number of rows comes first"
                for mine, theirs in zip(cache.layers, largest.layers, strict=True):
                    _share(mine, theirs, rows)
            self.caches[rows] = cache
        return self.caches[rows]

    def fill(self, rows: int, source: Any, index: torch.Tensor, position: int) -> StaticCache:
        """The cache of `rows` rows with rows `index` of another cache, whose first `position` tokens are read."""
        cache = self.of(rows)
        for mine, theirs in zip(cache.layers, source.layers, strict=True):
            if hasattr(theirs, "recurrent_states"):
                _copy_states(mine, theirs, index)
            if isinstance(theirs, CacheLayerMixin):
                _copy_keys(mine, theirs, index, position)
        return cache


def _share(mine: Any, theirs: Any, rows: int) -> None:
    """Make a layer the first rows of another one, whose count of tokens it shares too."""
    if hasattr(theirs, "recurrent_states"):
        for name in ("conv_states", "recurrent_states"):
            for number, part in getattr(theirs, name).items():
                getattr(mine, name)[number] = part if part is None else part[:rows]
        for name in (
            "is_conv_states_initialized", "is_recurrent_states_initialized", "has_previous_state", "conv_kernel_size",
        ):  # fmt: skip
            setattr(mine, name, dict(getattr(theirs, name)))
        mine.dtype, mine.device = theirs.dtype, theirs.device
    if isinstance(theirs, CacheLayerMixin):
        for name in ("dtype", "device", "num_heads", "k_head_dim", "v_head_dim", "cumulative_length"):
            setattr(mine, name, getattr(theirs, name))
        assert theirs.keys is not None and theirs.values is not None
        mine.keys, mine.values = theirs.keys[:rows], theirs.values[:rows]
        mine.batch_size, mine.is_initialized = rows, True


def _copy_keys(mine: Any, theirs: Any, index: torch.Tensor, position: int) -> None:
    keys, values = (part[index, :, :position] for part in (theirs.keys, theirs.values))
    if not mine.is_initialized:
        mine.lazy_initialization(keys, values)
    mine.keys[:, :, :position].copy_(keys)
    mine.values[:, :, :position].copy_(values)
    mine.cumulative_length.fill_(position)


def _copy_states(mine: Any, theirs: Any, index: torch.Tensor) -> None:
    for number in range(theirs.number_of_states):
        convolution, recurrent = theirs.conv_states[number], theirs.recurrent_states[number]
        if not mine.is_conv_states_initialized[number]:
            mine.lazy_initialization(conv_states=convolution[index], state_idx=number)
            mine.lazy_initialization(recurrent_states=recurrent[index], state_idx=number)
            mine.device = convolution.device
        mine.conv_states[number].copy_(convolution[index])
        mine.recurrent_states[number].copy_(recurrent[index])
        mine.has_previous_state[number] = True
