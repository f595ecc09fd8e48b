"""Model weights in bfloat16, converted without torch: the push step runs in an image that has none.

What such a file consists of is told in lib/model/weights.py.
"""

import json
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from components.lib.files import read_object, write_json
from components.lib.model.weights import METADATA, read_header

INDEX = "model.safetensors.index.json"
CONVERTED = {"F32": "<f4", "F16": "<f2"}  # safetensors name -> numpy's
CHUNK = 1 << 22  # values converted at a time: 16 MB of float32


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round floats of any width to bfloat16, to nearest and ties to even; returns the bits as uint16.

    A NaN stays a NaN (quiet, its sign kept), values beyond bfloat16's range become infinite, as in torch.

    >>> [hex(bits) for bits in to_bfloat16(np.array([1.0, -2.0, 1.0 + 2**-8], dtype=np.float32))]
    ['0x3f80', '0xc000', '0x3f80']
    """
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    quiet = ((bits >> np.uint32(16)) & np.uint32(0x8000)) | np.uint32(0x7FC0)
    return np.where(nan, quiet, rounded).astype("<u2")


def convert_weights(model: Path, out: Path) -> int:
    """Write every safetensors file of directory `model` to directory `out` with float tensors in bfloat16.

    Tensors of other kinds, bfloat16 included, are copied as they are; the index of sharded weights gets its new
    `total_size`. Returns the bytes of all tensors. `ValueError` if there are no weights or a file is no
    safetensors file.
    """
    files = sorted(model.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{model} holds no *.safetensors file; save the model with save_pretrained")
    total = sum(_convert_file(file, out / file.name) for file in files)
    if (model / INDEX).exists():
        index = read_object(model / INDEX)
        index["metadata"] = {**index.get("metadata", {}), "total_size": total}
        write_json(out / INDEX, index)
    return total


def _convert_file(source: Path, target: Path) -> int:
    header, start = read_header(source)
    tensors = sorted((kv for kv in header.items() if kv[0] != METADATA), key=lambda kv: kv[1]["data_offsets"])
    new, offset = {METADATA: header[METADATA]} if METADATA in header else {}, 0
    for name, tensor in tensors:
        size = tensor["data_offsets"][1] - tensor["data_offsets"][0]
        dtype = tensor["dtype"]
        if dtype in CONVERTED:
            size, dtype = size // np.dtype(CONVERTED[dtype]).itemsize * 2, "BF16"
        new[name] = {"dtype": dtype, "shape": tensor["shape"], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(new, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as read, target.open("wb") as write:
        write.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in tensors:
            begin, end = tensor["data_offsets"]
            read.seek(start + begin)
            _convert_tensor(read, write, tensor["dtype"], end - begin)
    return offset


def _convert_tensor(read: BinaryIO, write: BinaryIO, dtype: str, size: int) -> None:
    """Copy one tensor of `size` bytes, in bfloat16 if it is a float of another width."""
    kind = np.dtype(CONVERTED.get(dtype, "<u1"))
    while size > 0:
        chunk = read.read(min(size, CHUNK * kind.itemsize))
        size -= len(chunk)
        write.write(to_bfloat16(np.frombuffer(chunk, kind)).tobytes() if dtype in CONVERTED else chunk)
