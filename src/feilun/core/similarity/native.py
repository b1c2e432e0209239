"""The compiled signatures (`signatures.c`) with types: NumPy arrays in, NumPy arrays out.

The library has no Python ABI in it and is called through ctypes, which releases the GIL for
the length of a call. It checks nothing itself; whoever adds a call here checks the sizes here.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np

from feilun.core.compiled import library_path, load_library, usable_cores

LIBRARY = library_path(__file__, "signatures")
SLOTS = 128
"""Values in a sketch; `signatures.c` has room for as many."""
MOST_TEXTS = 2**32 - 2
"""Row numbers are 32 bits, and one of them says that a chain ends."""

_ROWS_PER_PIECE = 4096
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64
_SIGNATURES = {
    "fl_sign": [*[_POINTER] * 2, *[_INT] * 5, *[_POINTER] * 3],
    "fl_join_equal": [*[_POINTER] * 3, _INT, *[_POINTER] * 3],
    "fl_link": [*[_POINTER] * 3, _INT, _INT, _POINTER, _INT, _INT, ctypes.c_double, _POINTER],
    "fl_flatten": [_POINTER, _INT],
}
_ANSWERS = {"fl_sign", "fl_join_equal", "fl_link"}


class Texts(NamedTuple):
    """Concatenated UTF-8 (uint8); text i is content[starts[i]:starts[i + 1]] (int64)."""

    content: np.ndarray
    starts: np.ndarray

    @property
    def num(self) -> int:
        """How many texts."""
        return len(self.starts) - 1


class Bands(NamedTuple):
    """`num` bands of `rows` slots each; texts that share `shared` of them are compared."""

    num: int
    rows: int
    shared: int = 1


class Signatures(NamedTuple):
    """Of each text: its hash (uint64), whether it has shingles (uint8), its keys (uint32)."""

    hashes: np.ndarray
    shingled: np.ndarray
    keys: np.ndarray
    bands: Bands


@cache
def _library() -> ctypes.CDLL:
    return load_library(LIBRARY, _SIGNATURES, _ANSWERS)


def sign(texts: Texts, bands: Bands, num_threads: int | None = None) -> Signatures:
    """The texts' signatures, by `num_threads` (None: one per processor) over ranges of rows."""
    _check(texts)
    if bands.num < 1 or bands.rows < 1 or bands.num * bands.rows > SLOTS:
        raise ValueError(f"{bands} do not fit into {SLOTS} slots")
    # Never read where it is not written: a text without shingles has no keys.
    made = Signatures(
        hashes=np.empty(texts.num, dtype=np.uint64),
        shingled=np.empty(texts.num, dtype=np.uint8),
        keys=np.empty((bands.num, texts.num), dtype=np.uint32),
        bands=bands,
    )
    library = _library()

    def piece(first: int) -> None:
        last = min(first + _ROWS_PER_PIECE, texts.num)
        _checked(
            library.fl_sign(
                _at(texts.content), _at(texts.starts), texts.num, first, last, bands.num,
                bands.rows, _at(made.hashes), _at(made.shingled), _at(made.keys),
            )
        )  # fmt: skip

    firsts = range(0, texts.num, _ROWS_PER_PIECE)
    workers = min(usable_cores() if num_threads is None else num_threads, len(firsts))
    if workers <= 1:
        for first in firsts:
            piece(first)
    else:
        with ThreadPoolExecutor(workers) as pool:
            for _done in pool.map(piece, firsts):
                pass
    return made


def clusters(texts: Texts, signed: Signatures, threshold: float) -> np.ndarray:
    """The first row of each row's cluster, uint32: texts that are equal, or whose shingle sets
    have a Jaccard similarity of at least `threshold`, or that such texts connect."""
    library, num = _library(), texts.num
    _check(texts)
    if len(signed.hashes) != num:
        raise ValueError("signatures of other texts")
    # By content, not by place: the limits of `link_row` then cut the same whatever the order.
    order = np.argsort(signed.hashes, kind="stable").astype(np.uint32)
    parent = np.arange(num, dtype=np.uint32)
    left = library.fl_join_equal(
        _at(texts.content), _at(texts.starts), _at(order), num, _at(signed.hashes),
        _at(signed.shingled), _at(parent),
    )  # fmt: skip
    _checked(
        library.fl_link(
            _at(texts.content), _at(texts.starts), _at(order), left, num, _at(signed.keys),
            signed.bands.num, signed.bands.shared, threshold, _at(parent),
        )
    )  # fmt: skip
    library.fl_flatten(_at(parent), num)
    return parent


def _check(texts: Texts) -> None:
    content, starts = texts
    if content.dtype != np.uint8 or starts.dtype != np.int64 or len(starts) < 1:
        raise TypeError("expected uint8 content and int64 starts")
    if texts.num > MOST_TEXTS:
        raise ValueError(f"{texts.num} texts are more than {MOST_TEXTS}")
    if starts[0] < 0 or starts[-1] > len(content) or bool((starts[1:] < starts[:-1]).any()):
        raise ValueError("starts must ascend within the content")


def _at(array: np.ndarray) -> int:
    if not array.flags.c_contiguous:
        raise TypeError("expected a contiguous array")
    return array.ctypes.data


def _checked(answer: int) -> None:
    if answer < 0:
        raise MemoryError
