"""Texts in NFKC, by C (plain.c) where every character of a text stands for itself."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
import polars as pl

from feilun.core.compiled import library_path, load_library
from feilun.core.text import Texts, strings, utf8

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64


def plain(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Each text in NFKC, with runs of spaces as one and none at the ends; and the rows (UInt32)
    of those that are left to others, with a character (a line feed, é, an emoji) that is neither
    visible ASCII nor of Chinese writing."""
    given = utf8(texts)
    content = np.empty(len(given.content), dtype=np.uint8)
    starts = np.empty(given.num + 1, dtype=np.int64)
    hard = np.empty(given.num, dtype=np.bool_)
    _library().fl_plain(
        given.content.ctypes.data, given.starts.ctypes.data, given.num, content.ctypes.data,
        starts.ctypes.data, hard.ctypes.data,
    )  # fmt: skip
    fresh = strings(Texts(content, starts)).rename(texts.name)
    if texts.null_count():
        fresh = fresh.set(texts.is_null(), None)
    return fresh, pl.Series(hard).arg_true()


@cache
def _library() -> ctypes.CDLL:
    return load_library(
        library_path(__file__, "plain"),
        {"fl_plain": [*[_POINTER] * 2, _INT, *[_POINTER] * 3]},
        set(),
    )
