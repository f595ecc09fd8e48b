"""Load a model and its tokenizer, the same way for training, rollouts and evaluation."""

import sys
from pathlib import Path
from typing import Any

from components.lib.model.ends import ends_of

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
    return model


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
