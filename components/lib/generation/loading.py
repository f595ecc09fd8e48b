"""Load a model and its tokenizer, the same way for training, rollouts and evaluation."""

import inspect
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from components.lib.model.ends import ends_of

CACHES = ("past_key_values", "cache_params")  # names of the argument
READ = 8  # tokens that `check_cache` reads
APART = 0.05  # of the largest score; bfloat16 rounds to 0.004 of it
PREFERRED, FALLBACK = "sdpa", "eager"  # attention of transformers
_SAID: set[str] = set()  # what was told in this process already


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer of a model directory, padding on the left; without a padding token it pads with its end token.

    `ValueError` if it has no chat template, or if no file names a token that ends a completion.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory, padding_side="left")
    if not tokenizer.chat_template:
        raise ValueError(
            f"{directory} has no chat template; choose an instruction-tuned model, or save one as chat_template.jinja"
        )
    ends = ends_of(directory)
    if tokenizer.eos_token_id not in ends.ids:
        tokenizer.eos_token = ends.taught
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(directory: Path, dtype: Any) -> Any:
    """The text model of a directory in `dtype`; a vision-language checkpoint comes without its vision tower.

    Attention is PyTorch's scaled dot product, or transformers' own where a model class has no other, which is said
    once. Its generation settings name every token that ends a completion (lib/model/ends.py).
    """
    from transformers.utils.logging import disable_progress_bar

    from components.lib.generation.in_place import write_in_place

    if not sys.stderr.isatty():
        disable_progress_bar()
    try:
        model = _loaded(directory, dtype, PREFERRED)
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        _say_once(f"{directory}: its model class has no {PREFERRED} attention: {FALLBACK} is used, which is slower")
        model = _loaded(directory, dtype, FALLBACK)
    model.generation_config.eos_token_id = list(ends_of(directory).ids)
    write_in_place(model)
    return model


def cached(model: Any, cache: Any) -> dict[str, Any]:
    """The arguments with which a model goes on from a cache; state-space models have a name of their own for it.

    `ValueError` if it has none, and would begin anew with every token.
    """
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model  # of a LoRA adapter
    kind: Any = type(bare)
    return {_cache_name(kind): cache, "use_cache": True}


@lru_cache
def _cache_name(kind: Any) -> str:
    """The name of the argument; looked up once for each class, since a decoding step asks for it."""
    known = inspect.signature(kind.forward).parameters
    name = next((name for name in CACHES if name in known), None)
    if name is None:
        raise ValueError(
            f"{kind.__name__} keeps what it has read in none of {', '.join(CACHES)}, so it cannot be decoded token by "
            "token; choose another model"
        )
    return name


def check_cache(model: Any) -> None:
    """Refuse a model that answers otherwise when it goes on from a cache than when it reads all at once.

    Decoding and GRPO's passes, which read a shared prompt once, would compute nonsense without a word. `ValueError`
    names its class. Not looked at are recurrent layers on a GPU, whose kernels tune themselves for a minute and have a
    check of their own (lib/training/kernels.py), and weights that are no numbers, which the decoder names.
    """
    import torch
    from transformers import DynamicCache
    from transformers.cache_utils import LinearAttentionLayer

    recurrent = any(isinstance(layer, LinearAttentionLayer) for layer in DynamicCache(config=model.config).layers)
    if recurrent and model.device.type == "cuda":
        return
    ids = torch.arange(READ, device=model.device) % model.get_input_embeddings().weight.shape[0]
    was_training = model.training
    with torch.no_grad():
        model.eval()
        whole = model(input_ids=ids[None]).logits[0, READ // 2 :]
        cache = DynamicCache(config=model.config)
        model(input_ids=ids[None, : READ // 2], **cached(model, cache))
        parts = model(input_ids=ids[None, READ // 2 :], **cached(model, cache)).logits[0]
    model.train(was_training)
    apart = (whole - parts).abs().max()
    if torch.isfinite(apart) and apart > APART * whole.abs().max():
        raise ValueError(
            f"{type(model).__name__} gives other scores when it goes on from its cache (by {apart:.3g}, the largest is "
            f"{whole.abs().max():.3g}), so it cannot be decoded token by token; choose another model"
        )


def token_id(tokenizer: Any, token: str) -> int | None:
    """The id of a token by its text, None if the vocabulary lacks it: that of the unknown token is not its own."""
    found = tokenizer.convert_tokens_to_ids(token)
    return found if found is not None and tokenizer.convert_ids_to_tokens(found) == token else None


def _loaded(directory: Path, dtype: Any, attention: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation=attention)


def _say_once(text: str) -> None:
    if text not in _SAID:
        _SAID.add(text)
        print(text, flush=True)
