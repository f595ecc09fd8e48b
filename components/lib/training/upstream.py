"""What this project uses of transformers and TRL although they do not promise it: checked when a training begins.

survive.py and grpo/trainer.py override or call these private methods. An upgrade that moved one would not fail by
itself: the override would never be called, and something else would be trained.
"""

import inspect
from importlib.metadata import version
from typing import Any

import torch
from transformers.cache_utils import LinearAttentionLayer
from trl.kernels.chunked_logprob import _use_triton
from trl.trainer import utils

# Class -> private method -> its first parameters, which are what is used.
USED = {
    "Trainer": {
        "_get_grad_norm": ("model", "grad_norm"), "_prepare_inputs": ("inputs",),
        "create_scheduler": ("num_training_steps", "optimizer"),
    },
    "GRPOTrainer": {
        "_prepare_inputs": ("generation_batch",),
        "_generate_and_score_completions": ("inputs",), "_compute_loss": ("model", "inputs"),
        "_get_per_token_logps_and_entropies": (
            "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy",
        ),
    },
}  # fmt: skip
STATES = "is_recurrent_states_initialized"
SKIPS = "_use_triton"  # of TRL's fused LM head: whether tokens that carry no loss are left out on a device


def check(trainer: type) -> None:
    """`ValueError` unless the libraries still have what a class of trainers uses of them."""
    wrong = [
        f"{kind.__name__}.{name} {'is gone' if found is None else f'takes {found}'}, expected {list(expected)}"
        for kind in trainer.__mro__
        for name, expected in USED.get(kind.__name__, {}).items()
        if (found := _parameters(kind, name, len(expected))) != list(expected)
    ]
    if not isinstance(getattr(LinearAttentionLayer(1), STATES, None), dict):
        wrong.append(f"LinearAttentionLayer.{STATES} is gone")
    if not callable(getattr(utils, SKIPS, None)):
        wrong.append(f"trl.trainer.utils.{SKIPS} is gone")
    if wrong:
        raise ValueError(
            f"transformers {version('transformers')} and trl {version('trl')} do not fit this project any more: "
            f"{'; '.join(wrong)}; install the versions that pyproject.toml pins, or adapt "
            "components/lib/training/survive.py and components/grpo/trainer.py to these"
        )


def score_labels_alone() -> None:
    """Have TRL's fused LM head leave out prompts and padding on a CPU too, for the same loss.

    It does so on a GPU. Elsewhere it scores every token, for devices that would compile each number of tokens anew.
    """
    setattr(utils, SKIPS, _skips)


def _skips(device: torch.device) -> bool:
    return device.type == "cpu" or _use_triton(device)


def renew_states(cache: Any) -> None:
    """Have the next recurrent states of a cache go to tensors of their own, since autograd needs those that were read.

    transformers would copy them into the old ones.
    """
    for layer in cache.layers:
        if isinstance(layer, LinearAttentionLayer):
            layer.is_recurrent_states_initialized = dict.fromkeys(layer.is_recurrent_states_initialized, False)


def _parameters(kind: type, name: str, count: int) -> list[str] | None:
    method = vars(kind).get(name)
    return method and list(inspect.signature(method).parameters)[1 : count + 1]
