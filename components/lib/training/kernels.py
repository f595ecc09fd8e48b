"""Are the fast kernels of linear attention right on this GPU? Compared with the plain torch path before training.

transformers takes `fla` and `causal_conv1d` when they can be imported; a build for another GPU, or a bug, then trains
garbage without a word. Checked are one layer's output and all its gradients, in one piece and where it goes on from a
shared beginning, and one step of cached decoding, each at the shape that the training uses. That is their warm-up too:
what Triton's cache lacks is tuned and compiled here, and not in the first step.
"""

import copy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from components.lib.recipe.schema import Grpo, Sft
from components.lib.training.upstream import renew_states
from components.lib.training.vram import PROMPT_TOKENS

# Functions of a model's module that kernels take the place of; functools.wraps keeps the torch one below each.
KERNELS = (
    "causal_conv1d_fn", "causal_conv1d_update", "torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule",
)  # fmt: skip
ENDS = [0, -1]  # rows that are compared: all that the torch path has memory for
MOST_TOKENS = 1280  # more are more chunks of the same size, for which no kernel is chosen anew
READ = 9  # tokens before a decoding step, and that step
TOLERANCE = 0.05  # relative; bfloat16 alone gives about 0.01


@dataclass(frozen=True)
class Used:
    """The shapes that a process of a training uses: rows and tokens of a pass, and rows of a decoding step."""

    rows: int
    tokens: int
    decoded: int

    @staticmethod
    def by(settings: Sft | Grpo, processes: int) -> "Used":
        """Those of a recipe; prompts are taken to be as long as the memory estimate takes them."""
        each = settings.rows_per_step // processes
        rows = min(settings.micro_batch_size, each)
        if isinstance(settings, Sft):
            return Used(rows, min(settings.max_tokens, MOST_TOKENS), rows)
        tokens, decoded = PROMPT_TOKENS + settings.max_new_tokens, min(settings.rollout_batch_size, each)
        return Used(rows, min(tokens, MOST_TOKENS), decoded)


def check_kernels(model: PreTrainedModel, device: torch.device, used: Used) -> str:
    """A sentence on what was compared on `device`; `ValueError` that names the first thing that differs.

    A model without such a layer passes. The model stays as it is, its place and its gradients too.
    """
    found = _layer_of(model)
    if found is None:
        return "the model has no kernels to check"
    began, (layer, module) = time.monotonic(), found
    layer = copy.deepcopy(layer).requires_grad_().to(device)
    shapes = f"passes of {used.rows} x {used.tokens:,} tokens and decoding of {used.decoded} rows"
    print(f"kernels: compared with the torch path for {shapes}; what Triton's cache lacks is tuned first", flush=True)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        size = model.config.get_text_config().hidden_size
        hidden = torch.randn(max(len(ENDS), used.rows), used.tokens, size, device=device)
        read = torch.randn(max(len(ENDS), used.decoded), READ, size, device=device)
        worst = max(_compare(model, layer, module, hidden), _compare_decoding(model, layer, module, read))
    return (
        f"the kernels of {type(layer).__name__} agree with the torch path: largest relative difference {worst:.2g}, "
        f"{time.monotonic() - began:.1f} s"
    )


def _layer_of(model: PreTrainedModel) -> tuple[Any, Any] | None:
    """The first layer that uses such kernels, and the Python module that holds them."""
    for layer in model.modules():
        module = sys.modules[type(layer).__module__]
        if hasattr(layer, "conv1d") and any(hasattr(getattr(module, name, None), "__wrapped__") for name in KERNELS):
            return layer, module
    return None


def _compare(model: Any, layer: Any, module: Any, hidden: torch.Tensor) -> float:
    """The largest relative difference of output and gradients; `ValueError` above TOLERANCE."""
    whole = _run(layer, hidden, layer, fast=True)
    parts = _run(layer, hidden, lambda inputs: _in_parts(model, layer, inputs), fast=True)
    with _torch_path(module):
        plain = _run(layer, hidden[ENDS], layer, fast=False)
    found = [_difference(name, whole[name], plain[name]) for name in plain]
    return max(found + [_difference(f"{name}, in two parts,", parts[name], plain[name]) for name in plain])


def _in_parts(model: Any, layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    """The layer's output where it goes on from a cache, as in lib/training/sharing.py."""
    cache, parts = DynamicCache(config=model.config), []
    for part in inputs.split([inputs.shape[1] // 4, inputs.shape[1] - inputs.shape[1] // 4], dim=1):
        parts.append(layer(part, cache_params=cache))
        renew_states(cache)
    return torch.cat(parts, dim=1)


def _run(
    layer: Any, hidden: torch.Tensor, forward: Callable[[torch.Tensor], torch.Tensor], *, fast: bool
) -> dict[str, torch.Tensor]:
    """Output and gradients of the rows ENDS, in bf16 as in training or in fp32; `fast` ones go with all the others."""
    inputs = hidden.clone().requires_grad_()
    parameters = dict(layer.named_parameters())
    with torch.autocast(hidden.device.type, torch.bfloat16) if fast else nullcontext():
        output = forward(inputs)[ENDS].float()
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    first, *rest = torch.autograd.grad((output * weights).sum(), [inputs, *parameters.values()])
    names = (f"gradient of {name}" for name in parameters)
    return {"output": output.detach(), "gradient of the input": first[ENDS], **dict(zip(names, rest, strict=True))}


def _compare_decoding(model: PreTrainedModel, layer: Any, module: Any, hidden: torch.Tensor) -> float:
    """The same of one step for all rows, which were read by the fast kernels; the ends are compared."""
    with torch.inference_mode(), torch.autocast(hidden.device.type, torch.bfloat16):
        cache = DynamicCache(config=model.config)
        layer(hidden[:, :-1], cache_params=cache)
        stepped = layer(hidden[:, -1:], cache_params=cache)[ENDS, 0].float()
    with torch.no_grad(), _torch_path(module):
        whole = layer(hidden[ENDS])[:, -1].float()
    return _difference("output of a decoding step", stepped, whole)


@contextmanager
def _torch_path(module: Any) -> Iterator[None]:
    """Run a model's module without its kernels."""
    before = {name: getattr(module, name) for name in KERNELS if hasattr(module, name)}
    for name, function in before.items():
        setattr(module, name, getattr(function, "__wrapped__", function))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(module, name, function)


def _difference(name: str, fast: torch.Tensor, plain: torch.Tensor) -> float:
    """The relative L2 difference; `ValueError` if it is too large, or no number."""
    size = plain.float().norm()
    found = ((fast.float() - plain.float()).norm() / size.clamp_min(1e-12)).item()
    if not found <= TOLERANCE:
        raise ValueError(
            f"the fast kernels are wrong on this device: the {name} differs from the torch path by {found:.3g} of its "
            f"size (at most {TOLERANCE:g}); rebuild the image for this GPU (CUDA_ARCHITECTURES), or remove the "
            "packages flash-linear-attention and causal-conv1d from it"
        )
    return found
