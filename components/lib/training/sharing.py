"""The rows of a pass that begin alike share the reading of their beginning, for the same gradient.

GRPO shares each prompt among its completions, SFT what all conversations of a pass begin with. The gradient of what is
shared flows back through the cache. Under gradient checkpointing transformers takes the cache away from a layer that
is computed again for the backward pass, since the layer would write its keys and states into it a second time. Here
such a layer finds the cache as it was before the first time, and what it writes then is thrown away.
"""

from copy import copy
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, LinearAttentionCacheLayerMixin
from transformers.modeling_layers import GradientCheckpointingLayer

from components.lib.generation.loading import cached
from components.lib.model.config import context_of
from components.lib.training.upstream import renew_states

PROMPT, COMPLETION = 6, 4  # tokens of the probe
PROBE_TOKENS = 130  # as many as the kernel check reads, since kernels tune themselves for the first shape
APART = 1e-2  # relative; rounding stays far below
NOTHING = 1e-4  # of the largest gradient; what is smaller is rounding


def can_share(trainer: Any) -> bool:
    """Whether the rows of a trainer's pass can share what they begin with; asked when the training has begun.

    That needs bare modules, which FSDP does not have, a model without a loss of routers, which counts every token that
    is read, and caches under gradient checkpointing.
    """
    if trainer.is_fsdp_enabled or trainer.aux_loss_enabled:
        return False
    bare = trainer.accelerator.unwrap_model(trainer.model)
    return gradients_flow(bare) and (not trainer.args.activation_checkpointing or can_keep_caches(bare))


def read_once(trainer: Any, model: Any, beginnings: torch.Tensor, mask: torch.Tensor, rows: Any) -> dict[str, Any]:
    """Read `beginnings` (distinct, tokens); the arguments with which `model` goes on, row i from beginning `rows[i]`.

    `mask` has the shape of `beginnings`; the cache that is returned has as many rows as `rows`.
    """
    bare = trainer.accelerator.unwrap_model(model)
    if trainer.args.activation_checkpointing:
        keep_caches(bare)
    cache = DynamicCache(config=bare.config)
    with trainer.accelerator.autocast():
        bare(input_ids=beginnings, attention_mask=mask, **cached(bare, cache), logits_to_keep=1)
    cache.reorder_cache(rows)
    renew_states(cache)
    return cached(bare, cache)


def gradients_flow(model: Any) -> bool:
    """Whether what a bare model learns from a few tokens is the same when their prompt is shared.

    Takes the memory of two gradients for a moment. Not looked at are recurrent layers on a GPU, as in
    `loading.check_cache`.
    """
    kinds = DynamicCache(config=model.config).layers
    if model.device.type == "cuda" and any(isinstance(kind, LinearAttentionCacheLayerMixin) for kind in kinds):
        return True
    training = model.training
    model.eval()
    with torch.enable_grad():
        alone, shared = (probe(model, share) for share in (False, True))
    model.train(training)
    sizes = [part.norm() for part in alone]
    return all(
        (one - other).norm() <= APART * size
        for one, other, size in zip(alone, shared, sizes, strict=True)
        if size > NOTHING * max(sizes)
    )


def probe(model: Any, share: bool) -> tuple[torch.Tensor, ...]:
    """The gradients of all trained weights for the completions of two rows with one prompt."""
    ids = torch.arange(2 * (PROMPT + COMPLETION), device=model.device).reshape(2, -1)
    ids[1, :PROMPT] = ids[0, :PROMPT]
    cache = DynamicCache(config=model.config)
    if share:
        model(input_ids=ids[:1, :PROMPT], **cached(model, cache), logits_to_keep=1)
        both: Any = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
        cache.reorder_cache(both)
        renew_states(cache)
    rest = ids[:, PROMPT:] if share else ids
    logits = model(input_ids=rest, attention_mask=torch.ones_like(ids), **cached(model, cache)).logits
    trained = [part for part in model.parameters() if part.requires_grad]
    wanted = logits[:, -COMPLETION:].float().log_softmax(-1)[..., 0].sum()
    return torch.autograd.grad(wanted, trained, allow_unused=True, materialize_grads=True)


def can_keep_caches(model: Any) -> bool:
    """Whether the checkpointed layers of a bare model can use caches once `keep_caches` has let them.

    They cannot where a layer does not say which part of a cache is its own, or where the model withholds the cache.
    """
    cache, layers = DynamicCache(config=model.config), _layers(model)
    numbers = [_number(layer) for layer in layers]
    if set(numbers) != set(range(len(cache.layers))) or len(layers) != len(cache.layers):
        return False
    keep_caches(model)
    tokens = min(PROBE_TOKENS, context_of(model.config.to_dict()) or PROBE_TOKENS)
    ids = torch.zeros(1, tokens, dtype=torch.long, device=model.device)
    with torch.no_grad(), torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        model(input_ids=ids, **cached(model, cache), logits_to_keep=1)
    return all(_holds(layer) for layer in cache.layers)


def keep_caches(model: Any) -> None:
    """Let the checkpointed layers use caches until checkpointing is enabled anew, as TRL does at every step."""
    for layer in _layers(model):
        layer._can_checkpoint_with_cache = True
        checkpoint = layer._gradient_checkpointing_func
        if getattr(checkpoint, "func", None) is not _checkpoint:
            layer._gradient_checkpointing_func = partial(_checkpoint, checkpoint, _number(layer))


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


def _layers(model: Any) -> list[Any]:
    """The layers that are checkpointed now; of a reference model none."""
    layers = (part for part in model.modules() if isinstance(part, GradientCheckpointingLayer))
    return [layer for layer in layers if layer.gradient_checkpointing]


def _number(layer: Any) -> Any:
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
