"""Gradient checkpointing for passes that go on from a cache.

transformers takes the cache away from a layer that is computed again for the backward pass, since the layer would
write its keys and states into it a second time. Here such a layer finds the cache as it was before the first time, and
what it writes then is thrown away.
"""

from copy import copy
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, LinearAttentionCacheLayerMixin
from transformers.modeling_layers import GradientCheckpointingLayer

from components.lib.generation.loading import cached

PROBE_TOKENS = 130  # as many as the kernel check reads, since kernels tune themselves for the first shape


def keep_caches(model: Any) -> bool:
    """Let the checkpointed layers of a bare model use caches; False, and nothing is changed, if they cannot.

    They cannot where a layer does not say which part of a cache is its own, or where the model withholds the cache.
    """
    layers = [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
    numbers = [_number(layer) for layer in layers]
    cache = DynamicCache(config=model.config)
    if None in numbers or sorted(numbers) != list(range(len(cache.layers))):
        return False
    for layer, number in zip(layers, numbers, strict=True):
        layer._can_checkpoint_with_cache = True
        layer._gradient_checkpointing_func = partial(_checkpoint, layer._gradient_checkpointing_func, number)
    ids = torch.zeros(1, PROBE_TOKENS, dtype=torch.long, device=model.device)
    with torch.no_grad():
        model(input_ids=ids, **cached(model, cache), logits_to_keep=1)
    if all(_holds(layer) for layer in cache.layers):
        return True
    for layer in layers:
        del layer._can_checkpoint_with_cache
        layer._gradient_checkpointing_func = layer._gradient_checkpointing_func.args[0]
    return False


def _checkpoint(checkpoint: Any, number: int, forward: Any, *inputs: Any) -> Any:
    """Checkpoint `forward` of a layer, whose part of a cache is the one with this number."""
    names = [name for name, value in forward.keywords.items() if isinstance(value, Cache)]
    if not names:
        return checkpoint(forward, *inputs)
    cache = forward.keywords[names[0]]
    before, again = cache.layers[number], False

    def run(*inputs: Any) -> Any:
        nonlocal again
        view = copy(cache)
        view.layers = [*cache.layers]
        view.layers[number] = _copy(before)
        out = forward.func(*forward.args, *inputs, **{**forward.keywords, **dict.fromkeys(names, view)})
        if not again:
            cache.layers[number] = view.layers[number]
        again = True
        return out

    return checkpoint(run, *inputs)


def _number(layer: Any) -> int | None:
    """Which part of a cache a layer has, as it or a part of it says; None if none does."""
    return next((part.layer_idx for part in layer.modules() if hasattr(part, "layer_idx")), None)


def _holds(layer: Any) -> bool:
    """Whether something was written into a layer of a cache."""
    if isinstance(layer, LinearAttentionCacheLayerMixin):
        return any(layer.has_previous_state.values())
    return bool(layer.is_initialized)


def _copy(layer: Any) -> Any:
    """A layer of a cache with the same content, whose own may change without the other's."""
    mine = copy(layer)
    for name, value in vars(layer).items():
        if isinstance(value, dict):
            setattr(mine, name, dict(value))
    if isinstance(layer, LinearAttentionCacheLayerMixin):  # which writes these in place
        mine.conv_states = {n: state if state is None else state.clone() for n, state in layer.conv_states.items()}
    return mine
