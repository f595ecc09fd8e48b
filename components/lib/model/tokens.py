"""The tokens of a model by the files of its tokenizer: which are special, and which id a token has."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from components.lib.files import read_json

_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def special_tokens(directory: Path) -> frozenset[str]:
    """The texts of all special tokens of the tokenizer in a model directory, those of its chat template among them."""
    config = tokenizer_config(directory)
    found = {token["content"] for token in _added(directory) if token.get("special")}
    found |= set(named_tokens(directory).values())
    more = config.get("additional_special_tokens") or config.get("extra_special_tokens") or ()
    more = list(more.values()) if isinstance(more, Mapping) else more
    return frozenset(text for one in more if (text := _text(one))) | frozenset(found)


def named_tokens(directory: Path) -> dict[str, str]:
    """The tokens that have a part to play, as `eos_token`, by its name; those that the tokenizer lacks are left out."""
    found = {**_json(directory / "special_tokens_map.json"), **tokenizer_config(directory)}
    return {name: text for name in _NAMED if (text := _text(found.get(name)))}


def added_ids(directory: Path) -> dict[str, int]:
    """The id of every added token, which is any that is no piece of ordinary text, special or not."""
    return {token["content"]: token["id"] for token in _added(directory)}


def tokenizer_config(directory: Path) -> dict[str, Any]:
    """The tokenizer_config.json of a model directory, empty if there is none."""
    return _json(directory / "tokenizer_config.json")


class Counter:
    """The tokenizer.json of a model directory; `ValueError` if there is none."""

    def __init__(self, directory: Path) -> None:
        from tokenizers import Tokenizer

        path = directory / "tokenizer.json"
        if not path.is_file():
            raise ValueError(f"{directory} has no tokenizer.json, so tokens cannot be counted; save one with it")
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, which holds its special tokens already."""
        return [found.ids for found in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has."""
        return [len(ids) for ids in self.ids(texts)]


def _added(directory: Path) -> list[dict[str, Any]]:
    """The added tokens, each with `content`, `id` and `special`."""
    by_id = tokenizer_config(directory).get("added_tokens_decoder", {})
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
