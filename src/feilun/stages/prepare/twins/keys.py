"""Twin keys: as an expression, and as bytes for what only compares them."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
import polars as pl

from feilun.core.compiled import library_path, load_library
from feilun.core.text import Texts, utf8

LIBRARY = library_path(__file__, "fold")
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64


def twin_key(text: pl.Expr) -> pl.Expr:
    """The form in which twins are equal: NFKC, lower case, only letters and digits; the text
    itself where that leaves nothing. «很好！！» and « 很 好 » are twins."""
    return text.map_batches(_twin_keys, return_dtype=pl.String, is_elementwise=True)


def _twin_keys(texts: pl.Series) -> pl.Series:
    # One expression would compute what stands in it twice twice: four times slower.
    folded = texts.str.normalize("NFKC").str.to_lowercase()
    bare = folded.str.replace_all(r"[^\p{L}\p{N}]+", "")
    empty = (bare == "").fill_null(False)
    return bare.zip_with(~empty, folded) if empty.any() else bare


def twin_texts(frame: pl.DataFrame) -> Texts:
    """What two records that say the same have in common: the twin key of `text`; of a record
    without text its `fields`.

    Texts of Chinese and ASCII are folded in C (fold.c), ten times as fast; the others by
    `twin_key`.
    """
    given = utf8(frame["text"])
    library = load_kernel()
    easy, sizes = np.empty(len(given.content), np.uint8), np.empty(given.num, np.int64)
    length = library.fl_fold(
        given.content.ctypes.data, given.starts.ctypes.data, given.num, easy.ctypes.data,
        sizes.ctypes.data,
    )  # fmt: skip
    folded = sizes >= 0
    starts = np.zeros(given.num + 1, dtype=np.int64)
    if folded.all():
        np.cumsum(sizes, out=starts[1:])
        return Texts(easy[:length], starts)
    rest = frame.filter(pl.Series(~folded))
    key = twin_key(pl.col("text")).fill_null(pl.col("fields")).fill_null("")
    hard = utf8(rest.select(key.alias("key")).to_series())
    sizes_of_all = sizes.copy()
    sizes_of_all[~folded] = np.diff(hard.starts)
    np.cumsum(sizes_of_all, out=starts[1:])
    content = np.empty(int(starts[-1]), dtype=np.uint8)
    library.fl_together(
        easy.ctypes.data, sizes.ctypes.data, hard.content.ctypes.data, hard.starts.ctypes.data,
        given.num, content.ctypes.data,
    )  # fmt: skip
    return Texts(content, starts)


@cache
def load_kernel() -> ctypes.CDLL:
    """The compiled library; raises `KernelsMissing`."""
    arguments = {"fl_fold": [_POINTER, _POINTER, _INT, _POINTER, _POINTER],
                 "fl_together": [*[_POINTER] * 4, _INT, _POINTER]}  # fmt: skip
    return load_library(LIBRARY, arguments, {"fl_fold"})
