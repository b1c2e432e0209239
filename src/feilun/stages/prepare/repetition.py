"""How much of a text says what it has said before."""

from __future__ import annotations

import numpy as np
import polars as pl

GRAM = 10
"""Characters that must return one after the other: about five Chinese words or two English ones."""
_BLOCK = 2**22
"""Characters gone over at once; a text that is longer is gone over by itself. At most 2**40."""
_BASE = np.uint64(0x9E3779B97F4A7C15)


def repeated_share(texts: pl.Series) -> pl.Series:
    """For each text the share of its characters that lie in a run of `GRAM` characters which
    stood before in the same text (Float64, 0 to 1; 0 for null).

    These are the duplicate n-grams of Rae et al. 2021, "Scaling Language Models: Methods,
    Analysis & Insights from Training Gopher", table A1, over characters in place of words, so
    that it means the same for Chinese; a repeated line or paragraph is made of them. A text
    written twice has .5, one phrase over and over nearly 1.
    """
    lengths = texts.str.len_chars().fill_null(0).to_numpy().astype(np.int64)
    found = np.zeros(len(texts))
    # Shorter than this, nothing can return without overlapping itself.
    rows = np.flatnonzero(lengths > GRAM)
    ends = np.cumsum(lengths[rows])
    first = 0
    while first < len(rows):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        chosen = rows[first:last]
        found[chosen] = _shares(texts.gather(chosen), lengths[chosen])
        first = last
    return pl.Series(texts.name, found)


def _shares(texts: pl.Series, lengths: np.ndarray) -> np.ndarray:
    content = texts.str.join("")[0].encode("utf-32-le")
    characters = np.frombuffer(content, dtype=np.uint32)
    rows = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    num = len(characters) - GRAM + 1
    # A polynomial of the characters, and at last of the row: grams of two rows never meet.
    hashes = np.zeros(num, dtype=np.uint64)
    for offset in range(GRAM):
        hashes *= _BASE
        hashes += characters[offset : offset + num]
    hashes *= _BASE
    hashes += rows[:num].view(np.uint64)
    hashes *= _BASE
    hashes ^= hashes >> np.uint64(29)
    hashes *= _BASE
    again = _stood_before(hashes)
    again &= rows[:num] == rows[GRAM - 1 :]  # within one text
    cover = np.zeros(len(characters) + 1, dtype=np.int32)
    starts = np.flatnonzero(again)
    cover[starts] += 1
    cover[starts + GRAM] -= 1
    covered = np.cumsum(cover[:-1]) > 0
    at = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return np.asarray(np.add.reduceat(covered, at, dtype=np.int64) / lengths)


def _stood_before(hashes: np.ndarray) -> np.ndarray:
    """For each hash whether the same one stands further to the front."""
    # Sorted with their places in the low bits, equal ones stand in the order of their places:
    # four times as fast as a stable argsort.
    bits = np.uint64(max(1, int(len(hashes) - 1).bit_length()))
    low = (np.uint64(1) << bits) - np.uint64(1)
    packed = (hashes & ~low) | np.arange(len(hashes), dtype=np.uint64)
    packed.sort()
    place = (packed & low).astype(np.int64)
    ordered = hashes[place]
    found = np.zeros(len(hashes), dtype=bool)
    found[place[1:]] = ordered[1:] == ordered[:-1]
    return found
