"""The compiled kernels (`kernels.c`) with types: NumPy arrays in, NumPy arrays out.

The library has no Python ABI in it and is called through ctypes, which releases the GIL for
the length of a call. It checks nothing itself; whoever adds a call here checks the sizes here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from feilun.core.compiled import library_path, load_library, usable_cores

LIBRARY = library_path(__file__, "kernels")
MOST_WORDS = 4
"""The longest word n-grams that `kernels.c` has room for."""

_NO_MEMORY = -1
_T = TypeVar("_T")
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64
_SIGNATURES = {
    "fl_lines": [ctypes.c_char_p, _INT, _INT, _POINTER],
    "fl_most_grams": [ctypes.c_char_p, _POINTER, _INT, _INT, _POINTER],
    "fl_grams": [ctypes.c_char_p, _POINTER, _INT, _INT, *[_POINTER] * 4],
    "fl_count": [_POINTER, _INT, _POINTER],
    "fl_keep": [*[_POINTER] * 3, _INT, _POINTER],
    "fl_weigh": [*[_POINTER] * 3, _INT, *[_POINTER] * 2],
    "fl_count_rows": [*[_POINTER] * 3, _INT, _POINTER],
    "fl_shuffled": [_POINTER, _INT, ctypes.c_uint64],
    "fl_solve": [*[_POINTER] * 4, _INT, *[_POINTER] * 4, _INT, ctypes.c_double, _INT,
                 ctypes.c_uint64],
    "fl_ridge": [*[_POINTER] * 4, _INT, *[_POINTER] * 4, _INT, ctypes.c_double, _INT,
                 ctypes.c_uint64],
    "fl_margins": [*[_POINTER] * 4, _INT, _POINTER, _INT, _POINTER],
    "fl_index": [_POINTER, _INT, *[_POINTER] * 2, _INT],
    "fl_lookup": [*[_POINTER] * 3, _INT, _POINTER],
    "fl_predict": [_POINTER, ctypes.c_char_p, _POINTER, _INT, _INT, _POINTER],
    "fl_embed": [_POINTER, ctypes.c_char_p, _POINTER, _INT, _INT, ctypes.c_float, _INT, _POINTER],
}  # fmt: skip
_ANSWERS = {
    "fl_lines", "fl_most_grams", "fl_grams", "fl_keep", "fl_solve", "fl_ridge", "fl_predict",
    "fl_embed",
}  # fmt: skip
EXCLUSIVE, INDEPENDENT, VALUE = range(3)
"""What a margin becomes: a share of 1 among the classes, a probability of its own, a value."""


class Shape(ctypes.Structure):
    """Which n-grams: orders of characters, orders of words (0: none), 2^bits buckets."""

    _fields_ = [
        ("min_chars", ctypes.c_int32),
        ("max_chars", ctypes.c_int32),
        ("max_words", ctypes.c_int32),
        ("bits", ctypes.c_int32),
    ]


class Table(ctypes.Structure):
    """A trained model as the kernels read it; see `Model` in kernels.c."""

    _fields_ = [
        ("shape", Shape),
        ("num_classes", ctypes.c_int32),
        ("num_margins", ctypes.c_int32),
        ("kind", ctypes.c_int32),
        ("member", _POINTER),
        ("rank", _POINTER),
        ("table", _POINTER),
        ("bias", _POINTER),
        ("slope", _POINTER),
        ("shift", _POINTER),
    ]


class Rows(NamedTuple):
    """Compressed sparse rows: row i has `columns` and `values` from starts[i] to starts[i+1]."""

    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @property
    def num(self) -> int:
        """How many rows."""
        return len(self.starts) - 1


class Texts(NamedTuple):
    """Texts joined by line breaks, and where each starts (one more: where the next would)."""

    content: bytes
    starts: np.ndarray

    @property
    def num(self) -> int:
        """How many texts."""
        return len(self.starts) - 1


class Until(NamedTuple):
    """When training stops, and what its shuffles depend on."""

    tolerance: float
    max_epochs: int
    seed: int


@cache
def _library() -> ctypes.CDLL:
    return load_library(LIBRARY, _SIGNATURES, _ANSWERS)


def ordered(work: Callable[[int], _T], num: int, num_threads: int | None = None) -> Iterator[_T]:
    """work(0) … work(num - 1), in that order, by `num_threads` (None: one per processor)."""
    workers = min(num, usable_cores() if num_threads is None else num_threads)
    if workers <= 1:
        yield from map(work, range(num))
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, range(num))


def shares(num: int, most: int) -> list[tuple[int, int]]:
    """`range(num)` cut into at most `most` pieces of nearly one size, each (first, last)."""
    most = max(min(num, most), 1)
    ends = [num * i // most for i in range(most + 1)]
    return list(pairwise(ends))


def texts(content: bytes, num: int) -> Texts:
    """Finds where each of `num` texts, joined by line breaks, starts."""
    starts = np.zeros(num + 1, dtype=np.int64)
    if num and _library().fl_lines(content, len(content), num, starts.ctypes.data) != num:
        raise ValueError("fewer lines than texts")
    return Texts(content, starts)


def grams(given: Texts, shape: Shape, first: int, last: int) -> tuple[np.ndarray, ...]:
    """Of the texts first..last: buckets int32, damped counts float32, and sizes int64."""
    library, start = _library(), given.starts.ctypes.data
    most = library.fl_most_grams(given.content, start, first, last, ctypes.byref(shape))
    buckets, values = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.float32)
    sizes = np.empty(last - first, dtype=np.int64)
    num = _checked(
        library.fl_grams(
            given.content, start, first, last, ctypes.byref(shape),
            _at(buckets), _at(values), _at(sizes),
        )
    )  # fmt: skip
    return buckets[:num], values[:num], sizes


def count(buckets: np.ndarray, counts: np.ndarray) -> None:
    """Adds one to counts[bucket] (int32) for each of `buckets` (int32)."""
    _library().fl_count(_at(buckets, np.int32), len(buckets), _at(counts, np.int32))


def keep(buckets: np.ndarray, values: np.ndarray, sizes: np.ndarray, feature: np.ndarray) -> Rows:
    """Rows of features made, over what they were made of, from rows of buckets of which each has
    `sizes`; `feature[bucket]` is a column, or -1 for a bucket that is left out."""
    left = _library().fl_keep(
        _at(buckets, np.int32), _at(values, np.float32), _at(sizes, np.int64), len(sizes),
        _at(feature, np.int32),
    )  # fmt: skip
    starts = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=starts[1:])
    return Rows(starts, buckets[:left], values[:left])


def weigh(rows: Rows, scale: np.ndarray) -> Rows:
    """The rows with each value times scale[column] (float32), then scaled to length 1; shares
    `starts` and `columns` with what it was given."""
    weighed = np.empty_like(rows.values)
    _library().fl_weigh(*_rows(rows), rows.num, _at(scale, np.float32), _at(weighed))
    return rows._replace(values=weighed)


def count_rows(rows: Rows, chosen: np.ndarray, num_features: int) -> np.ndarray:
    """In how many of the rows `chosen` (int32) each feature is, int32."""
    counts = np.zeros(num_features, dtype=np.int32)
    starts, columns, _values = _rows(rows)
    _library().fl_count_rows(starts, columns, _at(chosen, np.int32), len(chosen), _at(counts))
    return counts


def shuffled(num: int, seed: int) -> np.ndarray:
    """0 … num - 1, int32, in an order that `seed` alone decides."""
    order = np.empty(num, dtype=np.int32)
    _library().fl_shuffled(_at(order), num, seed & (2**64 - 1))
    return order


def solve(
    rows: Rows,
    chosen: np.ndarray,
    sign: np.ndarray,
    diagonal: np.ndarray,
    alpha: np.ndarray,
    weights: np.ndarray,
    until: Until,
) -> int:
    """Trains on the rows `chosen` (int32), changing `alpha` (float64, per row) and `weights`
    (float32, per feature, then the bias) from where they are; returns the epochs taken."""
    order = chosen.astype(np.int32)
    epochs: int = _library().fl_solve(
        *_rows(rows), _at(order), len(order), _at(sign, np.int8), _at(diagonal, np.float64),
        _at(alpha, np.float64), _at(weights, np.float32), len(weights) - 1,
        until.tolerance, until.max_epochs, until.seed & (2**64 - 1),
    )  # fmt: skip
    return epochs


def ridge(
    rows: Rows,
    chosen: np.ndarray,
    target: np.ndarray,
    diagonal: np.ndarray,
    alpha: np.ndarray,
    weights: np.ndarray,
    until: Until,
) -> int:
    """As `solve`, but towards the values `target` (float64, per row) by the squared error."""
    order = chosen.astype(np.int32)
    epochs: int = _library().fl_ridge(
        *_rows(rows), _at(order), len(order), _at(target, np.float64), _at(diagonal, np.float64),
        _at(alpha, np.float64), _at(weights, np.float32), len(weights) - 1,
        until.tolerance, until.max_epochs, until.seed & (2**64 - 1),
    )  # fmt: skip
    return epochs


def margins(rows: Rows, chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """weights · row + bias, float64, for each of the rows `chosen` (int32)."""
    result = np.empty(len(chosen), dtype=np.float64)
    _library().fl_margins(
        *_rows(rows), _at(chosen, np.int32), len(chosen), _at(weights, np.float32),
        len(weights) - 1, _at(result),
    )  # fmt: skip
    return result


def index(buckets: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of 2^bits buckets have a feature (one bit each), and how many before each word of
    64; `buckets` is int32, ascending, within 0 … 2^bits - 1 (the caller has checked)."""
    words = max(2**bits // 64, 1)
    member, rank = np.zeros(words, dtype=np.uint64), np.empty(words, dtype=np.int32)
    _library().fl_index(_at(buckets, np.int32), len(buckets), _at(member), _at(rank), words)
    return member, rank


def lookup(member: np.ndarray, rank: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """The feature (int32) of each of `buckets` (int32, in range), by what `index` made; -1 for a
    bucket that has none."""
    features = np.empty(len(buckets), dtype=np.int32)
    _library().fl_lookup(
        _at(member, np.uint64), _at(rank, np.int32), _at(buckets, np.int32), len(buckets),
        _at(features),
    )  # fmt: skip
    return features


def predict(table: Table, given: Texts, first: int, last: int, out: np.ndarray) -> None:
    """Fills out[first:last] (float32) with the probabilities of the texts first..last."""
    at = out.ctypes.data + first * out.strides[0]
    _checked(
        _library().fl_predict(
            ctypes.byref(table), given.content, given.starts.ctypes.data, first, last, at
        )
    )


def embed(table: Table, given: Texts, first: int, last: int, rare: float, out: np.ndarray) -> None:
    """Fills out[first:last] (float32, its width a power of two to 2^15) with unit vectors of the
    texts first..last; an n-gram that is no feature weighs `rare`."""
    at = out.ctypes.data + first * out.strides[0]
    _checked(
        _library().fl_embed(
            ctypes.byref(table), given.content, given.starts.ctypes.data, first, last,
            rare, out.shape[1], at,
        )
    )  # fmt: skip


def _rows(rows: Rows) -> Sequence[int]:
    starts, columns, values = rows
    return _at(starts, np.int64), _at(columns, np.int32), _at(values, np.float32)


def _at(array: np.ndarray, dtype: type[np.generic] | None = None) -> int:
    if not array.flags.c_contiguous or (dtype is not None and array.dtype != dtype):
        raise TypeError(f"expected contiguous {dtype}, got {array.dtype}")
    return array.ctypes.data


def _checked(answer: int) -> int:
    if answer == _NO_MEMORY:
        raise MemoryError
    return answer
