"""Which architectures can be trained: those that AutoModelForCausalLM of the pinned transformers knows.

architectures.json has its version and its model types: `causal`, all that the class takes, of these `encoders`,
which look in both directions unless their configuration says is_decoder, and `stateful`, which cannot be decoded token
by token from a cache as others are. A test holds it equal to what is installed.
"""

from pathlib import Path
from typing import Any

from components.lib.files import read_json

KNOWN = Path(__file__).with_name("architectures.json")


def check_architecture(config: dict[str, Any], model: str) -> None:
    """Refuse a model, by its config.json, that is no causal language model or needs code of its own: `ValueError`."""
    known, kind = read_json(KNOWN), config.get("model_type")
    if not kind:
        raise ValueError(f"config.json of model {model!r} names no model_type; save the model with save_pretrained")
    if kind not in known["causal"] and config.get("auto_map"):
        raise ValueError(
            f"model {model!r} ({kind}) brings code of its own (auto_map in config.json), which is never run here "
            f"(trust_remote_code); take one that transformers {known['transformers']} has itself"
        )
    why = ""
    if kind not in known["causal"]:
        why = f"its model type {kind!r} is no causal language model of transformers {known['transformers']}"
    elif config.get("is_encoder_decoder"):
        why = f"its model type {kind!r} is an encoder with a decoder"
    elif kind in known["encoders"] and not config.get("is_decoder"):
        why = f"its model type {kind!r} is an encoder (no is_decoder in config.json)"
    elif kind in known["stateful"]:
        why = f"its model type {kind!r} keeps what it has read in a way of its own, not in a cache to go on from"
    if why:
        raise ValueError(f"model {model!r} cannot be trained: {why}; take one that writes on from left to right")
