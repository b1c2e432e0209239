"""The bytes and the hashes of a column of texts."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl

from feilun.core.compiled import library_path, load_library

LIBRARY = library_path(__file__, "hashes")
_ROWS_PER_COPY = 2**18
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64


class Texts(NamedTuple):
    """Concatenated UTF-8 (uint8); text i is content[starts[i]:starts[i + 1]] (int64)."""

    content: np.ndarray
    starts: np.ndarray

    @property
    def num(self) -> int:
        """How many texts."""
        return len(self.starts) - 1


@cache
def _library() -> ctypes.CDLL:
    return load_library(LIBRARY, {"fl_hash": [_POINTER, _POINTER, _INT, _POINTER]}, set())


def utf8(texts: pl.Series) -> Texts:
    """The texts as the kernels read them (null counts as ""); slice by slice, so that there is
    one copy at most. Not to be written to."""
    texts = texts.cast(pl.String)
    starts = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(texts.str.len_bytes().fill_null(0).to_numpy(), out=starts[1:])
    if len(texts) <= _ROWS_PER_COPY:
        return Texts(_joined(texts), starts)
    content = np.empty(int(starts[-1]), dtype=np.uint8)
    for first in range(0, len(texts), _ROWS_PER_COPY):
        last = min(first + _ROWS_PER_COPY, len(texts))
        content[starts[first] : starts[last]] = _joined(texts[first:last])
    return Texts(content, starts)


def _joined(texts: pl.Series) -> np.ndarray:
    filled = texts.str.len_bytes() > 0
    if not filled.all(ignore_nulls=False):  # an empty list would come out of `explode` as a null
        texts = texts.filter(filled)
    return texts.cast(pl.Binary).cast(pl.List(pl.UInt8)).explode().to_numpy()


class _Exported:
    """Texts as an object of the Arrow PyCapsule interface; to be taken once."""

    def __init__(self, texts: Texts) -> None:
        # Room for the two structures of strings.c; what is taken is moved out of it.
        self._schema, self._array = (ctypes.c_int64 * 9)(), (ctypes.c_int64 * 10)()
        starts = np.ascontiguousarray(texts.starts)
        answer = _strings().fl_strings(
            texts.content.ctypes.data, starts.ctypes.data, texts.num,
            ctypes.addressof(self._schema), ctypes.addressof(self._array),
        )  # fmt: skip
        if answer < 0:
            raise MemoryError

    def __arrow_c_array__(self, _requested: object = None) -> tuple[object, object]:
        return (
            _capsule(ctypes.addressof(self._schema), b"arrow_schema", None),
            _capsule(ctypes.addressof(self._array), b"arrow_array", None),
        )


_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, _POINTER, ctypes.c_char_p, _POINTER)(
    ("PyCapsule_New", ctypes.pythonapi)
)


@cache
def _strings() -> ctypes.CDLL:
    arguments = {"fl_strings": [_POINTER, _POINTER, _INT, _POINTER, _POINTER]}
    return load_library(library_path(__file__, "strings"), arguments, {"fl_strings"})


def strings(texts: Texts) -> pl.Series:
    """The texts as a column, valid UTF-8 that begins at 0: `utf8` the other way."""
    if texts.starts[0] != 0 or texts.starts[-1] > len(texts.content):
        raise ValueError("starts must begin at 0 and end within the content")
    # polars moves the array out of the object while this call lasts.
    return pl.Series(_Exported(texts), dtype=pl.String)


def hashes(texts: Texts) -> np.ndarray:
    """A hash of each text (uint64), as `hashed` says."""
    found = np.empty(texts.num, dtype=np.uint64)
    _library().fl_hash(
        texts.content.ctypes.data, texts.starts.ctypes.data, texts.num, found.ctypes.data
    )
    return found


def hashed(texts: pl.Series) -> pl.Series:
    """A hash of each text (UInt64; null counts as ""), the same on every machine and in every
    version. Two of n different texts have the same one with a chance of n² / 2⁶⁵: three in a
    million for ten million texts."""
    return pl.Series(texts.name, hashes(utf8(texts)), dtype=pl.UInt64)
