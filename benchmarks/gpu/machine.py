"""What the parts run on."""

import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from benchmarks import shapes
from benchmarks.gpu.child import Place

REFUSED = ((3, 4, 0), (3, 7, 1))  # from, to: Triton's versions with which FLA refuses its backward pass on Hopper
COPIED = 2**31  # bytes
GIB = 2**30


def machine(place: Place) -> Iterator[dict[str, Any]]:
    """Card, versions, and whether FLA refuses its backward pass here."""
    if place.gpu and not torch.cuda.is_available():
        raise ValueError("torch sees no GPU; --device cpu makes a dry run")
    triton = installed("triton")
    hopper = place.gpu and torch.cuda.get_device_capability()[0] == 9
    numbers = tuple(int(part) for part in triton.split("+")[0].split(".")[:3]) if triton[:1].isdigit() else ()
    kernels = [f"{name} {installed(name)}" for name in ("flash-linear-attention", "causal-conv1d")]
    yield {
        "what": "machine", "card": shapes.machine().split(", torch")[0], "torch": f"torch {torch.__version__}",
        "triton": f"Triton {triton}", "kernels": ", ".join(kernels),
        "fla_refuses": hopper and REFUSED[0] <= numbers < REFUSED[1] and installed("fla-core") != "none",
    }  # fmt: skip


def installed(package: str) -> str:
    """Its version, or "none"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def bandwidth(place: Place) -> float:
    """Bytes/s that a copy on the device reads and writes."""
    source = torch.zeros(place.of(COPIED, COPIED >> 8), dtype=torch.uint8, device=place.device)
    target, times = torch.empty_like(source), 10
    target.copy_(source)
    began = now(place)
    for _ in range(times):
        target.copy_(source)
    return 2 * source.numel() * times / (now(place) - began)


def now(place: Place) -> float:
    """Seconds, once what was asked of the device is done."""
    if place.gpu:
        torch.cuda.synchronize()
    return time.perf_counter()


def fresh_peak(place: Place) -> None:
    """Count the peak of memory from here."""
    if place.gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(place: Place) -> dict[str, Any]:
    """GiB that were allocated at most; nothing on a CPU."""
    return {"peak_gib": round(torch.cuda.max_memory_allocated() / GIB, 2)} if place.gpu else {}
