"""What the headers of safetensors files say of the weights, without torch: whether they are whole, and their sizes.

A safetensors file is 8 bytes (header length, little endian), the header as JSON ({name: {"dtype", "shape",
"data_offsets"}, "__metadata__": {...}}, padded with spaces), then the tensors' bytes without gaps
(https://github.com/huggingface/safetensors#format).
"""

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.lib.model.config import text_config

METADATA = "__metadata__"
# What model types call the table of their tokens, and the sizes in their configuration: that of a token's vector first
# where it is not that of the layers.
_TABLES = re.compile(r"(.*?)(embed_tokens|wte|word_embeddings|embed_in)\.weight")
_VOCABULARY = ("vocab_size",)
_WIDTH = ("word_embed_proj_dim", "embedding_size", "input_embedding_size", "hidden_size", "n_embd", "d_model")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_BEYOND = {"mllama_text_model": 8, "moshi": 1}  # model type -> rows beyond its vocabulary
_MORE = "num_nextn_predict_layers"  # layers beyond those, which guess further ahead


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where the tensors' bytes begin; `ValueError` if it is not whole."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= path.stat().st_size - 8:
            raise ValueError(f"{path} is not a whole safetensors file; save the model again")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
        except ValueError:
            raise ValueError(f"{path} is no safetensors file; save the model again") from None
    end = max((t["data_offsets"][1] for name, t in header.items() if name != METADATA), default=0)
    if end != path.stat().st_size - 8 - length:
        raise ValueError(f"{path} is cut off or has bytes to spare; save the model again")
    return header, 8 + length


def check_sizes(model: str, files: Iterable[Path], config: Mapping[str, Any]) -> None:
    """Refuse weights whose vocabulary, width or number of layers is not that of config.json; `ValueError` names both.

    Nothing is said of a model type that gives its weights other names.
    """
    shapes = {name: t["shape"] for path in files for name, t in read_header(path)[0].items() if name != METADATA}
    if wrong := list(_wrong(shapes, text_config(config))):
        raise ValueError(
            f"model {model!r} has weights of another size than its config.json says: {', '.join(wrong)}; take both "
            "from one model, or save it again with save_pretrained"
        )


def _wrong(shapes: Mapping[str, Sequence[int]], text: Mapping[str, Any]) -> Iterator[str]:
    """A few words for each size that differs."""
    table = next((found for name in sorted(shapes) if (found := _TABLES.fullmatch(name))), None)
    if not table or len(shapes[table[0]]) != 2:
        return
    pattern = re.compile(rf"{re.escape(table[1])}(?:layers|h|blocks|block)\.(\d+)\.")
    layers = len({found[1] for name in shapes if (found := pattern.match(name))})
    rows, columns = shapes[table[0]]
    vocabulary, width, depth = (_stated(text, names) for names in (_VOCABULARY, _WIDTH, _LAYERS))
    if vocabulary and text[vocabulary] + _BEYOND.get(text.get("model_type", ""), 0) != rows:
        yield f"{vocabulary} is {text[vocabulary]}, {table[0]} has {rows} rows"
    if width and text[width] != columns:
        yield f"{width} is {text[width]}, {table[0]} has {columns} columns"
    if depth and layers and not text[depth] <= layers <= text[depth] + (text.get(_MORE) or 0):
        yield f"{depth} is {text[depth]}, there are {layers} layers"


def _stated(text: Mapping[str, Any], names: Sequence[str]) -> str:
    """The first of some names to which a configuration gives a number, "" if it knows none."""
    return next((name for name in names if isinstance(text.get(name), int)), "")
