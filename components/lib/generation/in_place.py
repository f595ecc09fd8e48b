"""A decoding step of gated DeltaNet that writes the new state over the old one, on a GPU.

flash-linear-attention's function makes a tensor for the new state of every layer, and transformers copies it into the
cache: 2.3 of the 13.4 ms of a step of 256 rows on an H200. Each program of its kernel reads its part of the state once,
before it writes the same part, so both may be one buffer. How fast that is has not been measured.
"""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

KNOWN = "0.6.0"  # version of fla-core whose kernel takes what `launch` gives it
PLACE = "fla.ops.gated_delta_rule.fused_recurrent"
STEP = "torch_recurrent_gated_delta_rule"  # transformers' name for it in a model's module
VALUES = 8  # of a head, of one program of the kernel

# (query, key, value, g, beta, state, l2norm) -> output; the state is changed.
Launch = Callable[..., torch.Tensor]


def write_in_place(model: Any) -> None:
    """Have a model's layers do so if there is a GPU and the kernel is one that this module knows."""
    if not torch.cuda.is_available() or importlib.util.find_spec("fla") is None or version("fla-core") != KNOWN:
        return
    for module in {sys.modules[type(part).__module__] for part in model.modules()}:
        function = getattr(module, STEP, None)
        if hasattr(function, "__wrapped__") and not hasattr(function, "launch"):
            setattr(module, STEP, in_place(function, launch))


def in_place(function: Any, launch: Launch) -> Any:
    """`function`, a model's step, with `launch` in its place where nobody needs the old state any more."""

    @functools.wraps(function.__wrapped__)  # so that the check of the kernels finds the torch path below
    def step(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, g: torch.Tensor, beta: torch.Tensor,
        initial_state: torch.Tensor | None = None, output_final_state: bool = False,
        use_qk_l2norm_in_kernel: bool = False, cu_seqlens: Any = None, **others: Any,
    ) -> Any:  # fmt: skip
        state = initial_state
        if (
            state is None or key.shape[1] != 1 or not output_final_state or cu_seqlens is not None
            or torch.is_grad_enabled() or state.dtype != torch.float32 or not state.is_contiguous()
        ):  # fmt: skip
            return function(
                query, key, value, g=g, beta=beta, initial_state=state, output_final_state=output_final_state,
                use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel, cu_seqlens=cu_seqlens, **others,
            )  # fmt: skip
        return launch(query, key, value, g, beta, state, use_qk_l2norm_in_kernel), state

    step.launch = launch  # type: ignore[attr-defined]
    return step


def launch(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, g: torch.Tensor, beta: torch.Tensor,
    state: torch.Tensor, l2norm: bool,
) -> torch.Tensor:  # fmt: skip
    """One step by the kernel of fla-core 0.6.0, with the arguments that its own function gives it.

    `query` and `key` are (rows, 1, heads, key size), `value` (rows, 1, value heads, value size), `g` and `beta` (rows,
    1, value heads); `state` (rows, value heads, key size, value size) is changed. Returns a tensor like `value`.
    """
    kernel = importlib.import_module(PLACE).fused_recurrent_gated_delta_rule_fwd_kernel
    query, key, value, g, beta = (part.contiguous() for part in (query, key, value, g, beta))
    (rows, tokens, heads, keys), (_, _, value_heads, values) = key.shape, value.shape
    width, part = _power_of_two(keys), min(VALUES, _power_of_two(values))
    out = torch.empty_like(value)
    kernel[(-(-values // part) * rows * value_heads,)](
        q=query, k=key, v=value, g=g, gk=None, gv=None, beta=beta, A_log=None, dt_bias=None, o=out, h0=state, ht=state,
        cu_seqlens=None, scale=keys**-0.5, T=tokens, H=heads, HV=value_heads, K=keys, V=values, BK=width, BV=part,
        IS_BETA_HEADWISE=True, USE_QK_L2NORM_IN_KERNEL=l2norm, APPLY_BETA_SIGMOID=False, ALLOW_NEG_EIGVAL=False,
        STATE_V_FIRST=False, num_warps=1, num_stages=3,
    )  # fmt: skip
    return out


def _power_of_two(number: int) -> int:
    """The next power of two."""
    return 1 << (number - 1).bit_length()
