"""bfloat16 without torch: the rounding, sharded files, and files that are not whole."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from components.lib.files import read_json, sha256
from components.lib.model.weights import read_header
from components.push.weights import convert_weights, to_bfloat16
from tests.fixtures.releases import write_model


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x3F800000, 0x3F80),  # 1.0
        (0x3F808000, 0x3F80),  # a tie goes to the even one below
        (0x3F818000, 0x3F82),  # a tie goes to the even one above
        (0x3F808001, 0x3F81),  # just above a tie
        (0x7F7FFFFF, 0x7F80),  # the largest float32 becomes infinite
        (0xFF800000, 0xFF80),  # minus infinity
        (0x7F800001, 0x7FC0),  # a NaN that truncation would make infinite
        (0xFFFFFFFF, 0xFFC0),  # a NaN whose rounding would overflow
        (0x80000000, 0x8000),  # minus zero
        (0x00000001, 0x0000),  # the smallest denormal
    ],
)
def test_rounding(bits: int, expected: int) -> None:
    assert to_bfloat16(np.array([bits], dtype="<u4").view("<f4")).tolist() == [expected]


def test_shards_are_converted_and_other_types_kept(tmp_path: Path) -> None:
    write_model(tmp_path / "model", seed=0)
    (tmp_path / "out").mkdir()
    total = convert_weights(tmp_path / "model", tmp_path / "out")
    assert total == 3 * 64 * 64 * 2 + 7 * 8
    assert read_json(tmp_path / "out" / "model.safetensors.index.json")["metadata"]["total_size"] == total
    header, start = read_header(tmp_path / "out" / "model-00001-of-00002.safetensors")
    assert start % 8 == 0 and header["__metadata__"] == {"format": "pt"}
    assert {name: tensor["dtype"] for name, tensor in header.items() if name != "__metadata__"} == {
        "first": "BF16",
        "ids": "I64",
    }


def test_converting_twice_changes_nothing(tmp_path: Path) -> None:
    save_file({"x": np.linspace(-3, 3, 1000, dtype=np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "once").mkdir()
    (tmp_path / "twice").mkdir()
    convert_weights(tmp_path, tmp_path / "once")
    convert_weights(tmp_path / "once", tmp_path / "twice")
    assert sha256(tmp_path / "once" / "model.safetensors") == sha256(tmp_path / "twice" / "model.safetensors")


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no \*\.safetensors"):
        convert_weights(tmp_path, tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_header(path)
    save_file({"x": np.ones(100, dtype=np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="is cut off"):
        read_header(path)
