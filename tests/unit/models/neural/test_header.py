"""Headers of safetensors files that lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from feilun.models.neural.header import MOST_BYTES, HostileWeights, tensors


def written(path: Path, header: str | dict[str, Any], data: bytes = b"", length: int | None = None):
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: int, end: int, shape: list[Any], kind: Any = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def test_what_the_library_writes_is_read(tmp_path):
    path = tmp_path / "a.safetensors"
    arrays = {"a": np.zeros((3, 2), np.float32), "b": np.zeros(5, np.int8), "c": np.zeros((0, 4))}
    path.write_bytes(save(arrays, metadata={"format": "pt"}))
    found = tensors(path)
    assert {name: one.shape for name, one in found.items()} == {"a": (3, 2), "b": (5,), "c": (0, 4)}
    assert found["a"].kind == "F32"
    assert found["a"].numbers == 6


LIES: dict[str, tuple[str | dict[str, Any], bytes]] = {
    "outside the file": ({"a": entry(0, 80, [20])}, b"\0" * 8),
    "overlap": ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, b"\0" * 12),
    "gap": ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, b"\0" * 12),
    "bytes that no tensor claims": ({"a": entry(0, 4, [1])}, b"\0" * 12),
    "absurd shape": ({"a": entry(0, 4, [2**40, 2**40])}, b"\0" * 4),
    "shape that wraps around": ({"a": entry(0, 4, [2**62, 4, 1])}, b"\0" * 4),
    "negative": ({"a": entry(0, 4, [-1, -1])}, b"\0" * 4),
    "backwards": ({"a": entry(4, 0, [1])}, b"\0" * 4),
    "fractions": ({"a": entry(0, 4, [1.0])}, b"\0" * 4),
    "truth for a number": ({"a": entry(0, 4, [True])}, b"\0" * 4),
    "unknown type": ({"a": entry(0, 4, [1], "Q9")}, b"\0" * 4),
    "type no name": ({"a": entry(0, 4, [1], ["F32"])}, b"\0" * 4),
    "many axes": ({"a": entry(0, 4, [1] * 40)}, b"\0" * 4),
    "no entry": ({"a": 3}, b""),
    "three offsets": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, b"\0" * 4),
    "a list": ("[]", b""),
    "no JSON": ("{", b""),
    "deeply nested": ("[" * 100_000, b""),
}  # fmt: skip


@pytest.mark.parametrize("lie", list(LIES))
def test_a_lie_is_refused(tmp_path, lie):
    header, data = LIES[lie]
    with pytest.raises(HostileWeights):
        tensors(written(tmp_path / "a.safetensors", header, data))


def test_a_name_that_stands_twice_is_told(tmp_path):
    one = json.dumps(entry(0, 4, [1]))
    path = written(tmp_path / "a.safetensors", f'{{"w": {one}, "w": {one}}}', b"\0" * 4)
    with pytest.raises(HostileWeights, match="'w'"):
        tensors(path)


@pytest.mark.parametrize("length", [2**63, 2**40, MOST_BYTES + 1, 500])
def test_a_huge_header_is_not_even_read(tmp_path, length):
    path = written(tmp_path / "a.safetensors", "{}", b"\0" * 100, length)
    with pytest.raises(HostileWeights, match=str(length)):
        tensors(path)


def test_too_short_and_not_there(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\0\0")
    with pytest.raises(HostileWeights):
        tensors(tmp_path / "a.safetensors")
    with pytest.raises(HostileWeights):
        tensors(tmp_path / "b.safetensors")


@given(st.binary(max_size=60), st.integers(0, 80))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, length):
    path = tmp_path_factory.mktemp("any") / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + data)
    try:
        found = tensors(path)
    except HostileWeights:
        return
    assert all(one.numbers >= 0 for one in found.values())
