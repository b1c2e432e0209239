"""Texts as hashed n-grams: what the test of the inputs and that of unknown texts look at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from feilun.models.ngram import native
from feilun.models.ngram.text import lines

WIDTH = 1024
"""Columns of `rows`. Measured on hotel and shop reviews with a fifth more hotels among 200: 256
columns find .51 of such windows, 1,024 .82, 4,096 .79."""
RARITY_BITS = 18
LONGEST = 2000
"""Characters of a text that are looked at."""
_ROWS = native.Shape(1, 2, 0, 10)
_RARE = native.Shape(2, 3, 0, RARITY_BITS)
_DIGIT = re.compile(r"\d")
_AT_ONCE = 1024


def rows(texts: Sequence[str]) -> np.ndarray:
    """Vectors of length 1, float32 `[len(texts), WIDTH]`: the damped counts of each text's
    characters and pairs of characters, hashed; every digit counts as 0. A row of zeros where a
    text has none."""
    made = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for first, buckets, values, owners, num in _grams(texts, _ROWS):
        flat = np.bincount(owners * WIDTH + buckets, values, num * WIDTH)
        made[first : first + num] = flat.reshape(num, WIDTH)
    norms = np.sqrt((made * made).sum(axis=1, keepdims=True))
    return np.asarray(made / np.maximum(norms, 1e-12))


def rarity(texts: Sequence[str]) -> np.ndarray:
    """Of each bucket of n-grams (two and three characters), float32 `[2 ** RARITY_BITS]`: minus
    the logarithm of how many of them there are for each of `texts`, with half a one more."""
    counts = np.zeros(2**RARITY_BITS)
    for _first, buckets, _values, _owners, _num in _grams(texts, _RARE):
        counts += np.bincount(buckets, minlength=len(counts))
    return np.asarray(-np.log((counts + 0.5) / (len(texts) + 1)), dtype=np.float32)


def surprise(texts: Sequence[str], rare: np.ndarray) -> np.ndarray:
    """How rare a text's n-grams are, on average, by what `rarity` made: float64 `[len(texts)]`;
    0 for a text without any."""
    found = np.zeros(len(texts))
    for first, buckets, _values, owners, num in _grams(texts, _RARE):
        sums = np.bincount(owners, rare[buckets], num)
        found[first : first + num] = sums / np.maximum(np.bincount(owners, minlength=num), 1)
    return found


def _grams(
    texts: Sequence[str], shape: native.Shape
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray, int]]:
    """Blocks of texts: the first's place, their n-grams, counts and owners, how many texts."""
    for first in range(0, len(texts), _AT_ONCE):
        some = [_DIGIT.sub("0", text[:LONGEST]) for text in texts[first : first + _AT_ONCE]]
        given = native.texts(lines(some), len(some))
        buckets, values, sizes = native.grams(given, shape, 0, len(some))
        yield first, buckets, values, np.repeat(np.arange(len(some)), sizes), len(some)
