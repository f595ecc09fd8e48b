"""The fast kernels against the torch path, at the shapes of training and of decoding."""

import copy
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.child import Place
from benchmarks.gpu.machine import installed
from components.lib.training import common
from components.lib.training import kernels as check


def kernels(place: Place) -> Iterator[dict[str, Any]]:
    """The largest relative differences, with the seconds that tuning took."""
    model = common.load_model(place.model, "main")
    found = check._layer_of(model)
    if found is None:
        yield {"what": "kernels", "skipped": "transformers has found none to put into the model"}
        return
    layer, module = copy.deepcopy(found[0]).requires_grad_().to(place.device), found[1]
    if installed("flash-linear-attention") == "none":
        yield {"what": "kernels", "skipped": "none is installed: the torch path is compared with itself"}
    size = model.config.get_text_config().hidden_size
    # A pass of the recipe's micro-batch, and a step of all rollouts after a short prompt.
    for what, compare, shape in (
        (
            "forward and gradients",
            lambda hidden: check._compare(model, layer, module, hidden),
            place.of((16, 1280), (2, 70)),
        ),
        (
            "a decoding step",
            lambda hidden: check._compare_decoding(model, layer, module, hidden),
            place.of((256, 130), (4, 9)),
        ),
    ):
        torch.manual_seed(0)
        hidden = torch.randn(*shape, size, device=place.device)
        began = time.perf_counter()
        try:
            told = {"largest_difference": round(compare(hidden), 4)}
        except ValueError as error:  # of one shape; the other is still of interest
            told = {"wrong": str(error).partition(";")[0]}
        yield {"what": f"{what}, {shape[0]} x {shape[1]} tokens", **told, "s": round(time.perf_counter() - began, 1)}
