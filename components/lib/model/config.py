"""What a model's config.json says: how long its context is, and which ids it calls its ends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.lib.files import read_json

# Under these names model types keep how many positions they have; bloom and others with ALiBi have no such limit.
_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """That of the text model, where a vision-language checkpoint has one of its own."""
    return config.get("text_config") or config


def context_of(config: Mapping[str, Any]) -> int | None:
    """How many tokens a model can hold, prompt and completion together; None if its config knows no limit."""
    text = text_config(config)
    found = next((text[name] for name in _CONTEXT if text.get(name)), None)
    return None if found is None else int(found)


def stated_ends(directory: Path) -> list[int]:
    """The ids that generation_config.json and config.json call the end, in this order, each once."""
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        if not (directory / name).is_file():
            continue
        config = read_json(directory / name)
        for part in (config, text_config(config)):
            value = part.get("eos_token_id")
            found += [] if value is None else value if isinstance(value, list) else [value]
    return list(dict.fromkeys(found))
