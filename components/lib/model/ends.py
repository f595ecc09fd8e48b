"""Which tokens end a completion: one answer for SFT's labels, rollouts, evaluation, vLLM and the saved model.

A model says it in up to four places that need not agree: generation_config.json, config.json, the tokenizer's
`eos_token`, and the token with which its chat template ends an assistant's turn. Each of them ends a completion here.
SFT teaches that of the template, which is what a chat model has learned and what it meets when it is served.
"""

from dataclasses import dataclass
from pathlib import Path

from components.lib.model.config import stated_ends
from components.lib.model.template import RENDER_ERRORS, Template
from components.lib.model.tokens import added_ids, named_tokens

_SAID = "said by the probe"


@dataclass(frozen=True)
class Ends:
    """The tokens that end a completion of a model."""

    taught: str  # with which SFT ends an assistant's turn
    ids: tuple[int, ...]  # that of `taught` first
    ignored: tuple[int, ...]  # which a file calls an end, and which the tokenizer does not know as a token of its own


def ends_of(directory: Path) -> Ends:
    """The ends of the model in a directory; `ValueError` if none of its files names any.

    An id that belongs to a piece of ordinary text, as the default of a configuration may, is no end.
    """
    known = added_ids(directory)
    turn, named = turn_end(directory), named_tokens(directory).get("eos_token", "")
    tokens = [token for token in (turn, named) if token in known]
    stated = stated_ends(directory)
    real = [number for number in stated if number in known.values()]
    if not tokens and not real:
        raise ValueError(
            f"{directory} names no token that ends a completion, neither in generation_config.json nor in config.json, "
            "its tokenizer or its chat template; set eos_token in tokenizer_config.json"
        )
    by_id = {number: token for token, number in known.items()}
    taught = tokens[0] if tokens else by_id[real[0]]
    ids = dict.fromkeys([known[taught], *real, *(known[token] for token in tokens)])
    return Ends(taught, tuple(ids), tuple(number for number in stated if number not in ids))


def turn_end(directory: Path) -> str:
    """The token with which the chat template ends an assistant's turn, "" if it ends it with none."""
    template = Template(directory)
    if not template.chat_template:
        return ""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _SAID}]
    try:
        after = template.apply_chat_template(turns).rpartition(_SAID)[2].lstrip()
    except RENDER_ERRORS:
        return ""
    found = [token for token in added_ids(directory) if token.strip() and after.startswith(token)]
    return max(found, key=len, default="")
