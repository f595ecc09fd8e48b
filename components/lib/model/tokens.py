"""The tokens of a model by the files of its tokenizer: which are special, and which id a token has."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from components.lib.files import read_json

_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def special_tokens(directory: Path) -> frozenset[str]:
    """The texts of all special tokens of the tokenizer in a model directory, those of its chat template among them."""
    config = _json(directory / "tokenizer_config.json")
    found = {token["content"] for token in _added(directory) if token.get("special")}
    found |= set(named_tokens(directory).values())
    more = config.get("additional_special_tokens") or config.get("extra_special_tokens") or ()
    more = list(more.values()) if isinstance(more, Mapping) else more
    return frozenset(text for one in more if (text := _text(one))) | frozenset(found)


def named_tokens(directory: Path) -> dict[str, str]:
    """The tokens that have a part to play, as `eos_token`, by its name; those that the tokenizer lacks are left out."""
    found = {**_json(directory / "special_tokens_map.json"), **_json(directory / "tokenizer_config.json")}
    return {name: text for name in _NAMED if (text := _text(found.get(name)))}


def _added(directory: Path) -> list[dict[str, Any]]:
    """The added tokens, each with `content`, `id` and `special`."""
    by_id = _json(directory / "tokenizer_config.json").get("added_tokens_decoder", {})
    listed = [{**token, "id": int(number)} for number, token in by_id.items()]
    return [*listed, *_json(directory / "tokenizer.json").get("added_tokens", ())]


def _text(token: Any) -> str:
    """The text of a token, which is written as such or as an object; "" if there is none."""
    return str(token.get("content") or "") if isinstance(token, Mapping) else str(token or "")


def _json(path: Path) -> dict[str, Any]:
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else {}


@lru_cache(maxsize=16)
def _read(path: Path, changed: int) -> dict[str, Any]:
    return dict(read_json(path))
