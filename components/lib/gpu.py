"""The fast kernels of linear attention on a GPU: which packages are missing, and where one refuses to train.

transformers takes torch's path for a kernel that cannot be imported, and says so in a line that nobody reads.
"""

import importlib.util
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

# Module -> its package, and what goes on without it. Bytes: benchmarks/vram.md; milliseconds: benchmarks/gpu.md.
KERNELS = {
    "fla": (
        "flash-linear-attention",
        "layers of linear attention then take torch's path, which keeps twice the bytes for the backward pass and is "
        "many times slower",
    ),
    "causal_conv1d": (
        "causal-conv1d", "torch's convolution then takes 1.2 of 13.4 ms of a decoding step of 256 rows on an H200",
    ),
}  # fmt: skip
HOPPER = 9  # the major number of its compute capability
# flash-linear-attention 0.6.0 refuses its backward pass on Hopper from the one to below the other: wrong results.
REFUSED_TRITON = (3, 4), (3, 7, 1)


def is_linear(config: Mapping[str, Any]) -> bool:
    """Whether the model of a config.json has layers of linear attention."""
    return "linear_attention" in (config.get("text_config", config).get("layer_types") or ())


def missing() -> list[str]:
    """A sentence for each package that cannot be imported."""
    return [f"{name} is not installed: {cost}" for module, (name, cost) in KERNELS.items() if not _is_there(module)]


def refusal(capability: tuple[int, int], triton: str) -> str:
    """Why a GPU of this compute capability cannot train with this Triton; empty if it can."""
    parts = tuple(int(part) for part in triton.split("+")[0].split(".") if part.isdigit())
    if capability[0] != HOPPER or not REFUSED_TRITON[0] <= parts < REFUSED_TRITON[1]:
        return ""
    return (
        f"flash-linear-attention refuses its backward pass on this GPU (sm_{capability[0]}{capability[1]}) with Triton "
        f"{triton}, whose results are wrong there; take an image with Triton 3.7.1 or newer"
    )


def refused() -> str:
    """Why this machine's GPU cannot train with the installed kernels; empty if it can, or if there are none."""
    import torch

    return refusal(torch.cuda.get_device_capability(), version("triton")) if _is_there("fla") else ""


def check(config: Mapping[str, Any], *, training: bool) -> list[str]:
    """What to say before a model with this config.json is loaded on this machine's GPU; nothing without one.

    `ValueError` if the model is to be trained and its kernels would refuse.
    """
    import torch

    if not torch.cuda.is_available() or not is_linear(config):
        return []
    if training and (wrong := refused()):
        raise ValueError(wrong)
    tuned = ["its kernels tune themselves for the first texts, which takes a minute unless Triton's cache has them"]
    return missing() + (tuned if _is_there("fla") else [])


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
