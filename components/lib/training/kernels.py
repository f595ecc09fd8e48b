"""Are the fast kernels of linear attention right on this GPU? Compared with the plain torch path before training.

transformers takes `fla` and `causal_conv1d` when they can be imported; a build for another GPU, or a bug, then trains
garbage without a word. Checked are one layer's output and all its gradients, and one step of cached decoding.
"""

import copy
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

# Functions of a model's module that kernels take the place of; functools.wraps keeps the torch one below each.
KERNELS = (
    "causal_conv1d_fn", "causal_conv1d_update", "torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule",
)  # fmt: skip
ROWS, TOKENS = 2, 130  # more than two chunks of 64, the last one not whole
TOLERANCE = 0.05  # relative; bfloat16 alone gives about 0.01


def check_kernels(model: PreTrainedModel, device: torch.device) -> str:
    """A sentence on what was compared on `device`; `ValueError` that names the first thing that differs.

    A model without such a layer passes. The model stays as it is, its place and its gradients too.
    """
    found = _layer_of(model)
    if found is None:
        return "the model has no kernels to check"
    began, (layer, module) = time.monotonic(), found
    layer = copy.deepcopy(layer).requires_grad_().to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        hidden = torch.randn(ROWS, TOKENS, model.config.get_text_config().hidden_size, device=device)
        worst = max(_compare(layer, module, hidden), _compare_decoding(model, layer, module, hidden))
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


def _compare(layer: Any, module: Any, hidden: torch.Tensor) -> float:
    """The largest relative difference of output and gradients; `ValueError` above TOLERANCE."""
    fast = _run(layer, hidden, fast=True)
    with _torch_path(module):
        plain = _run(layer, hidden, fast=False)
    return max(_difference(name, fast[name], plain[name]) for name in plain)


def _run(layer: Any, hidden: torch.Tensor, *, fast: bool) -> dict[str, torch.Tensor]:
    """Output and gradients, in bf16 as in training or in fp32."""
    inputs = hidden.clone().requires_grad_()
    parameters = dict(layer.named_parameters())
    with torch.autocast(hidden.device.type, torch.bfloat16) if fast else nullcontext():
        output = layer(inputs).float()
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    gradients = torch.autograd.grad((output * weights).sum(), [inputs, *parameters.values()])
    names = ("gradient of the input", *(f"gradient of {name}" for name in parameters))
    return {"output": output.detach(), **dict(zip(names, gradients, strict=True))}


def _compare_decoding(model: PreTrainedModel, layer: Any, module: Any, hidden: torch.Tensor) -> float:
    with torch.inference_mode(), torch.autocast(hidden.device.type, torch.bfloat16):
        cache = DynamicCache(config=model.config)
        layer(hidden[:, :-1], cache_params=cache)
        stepped = layer(hidden[:, -1:], cache_params=cache)[:, 0].float()
    with torch.no_grad(), _torch_path(module):
        whole = layer(hidden)[:, -1].float()
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
