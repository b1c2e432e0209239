"""From signatures to clusters, band by band: the same for texts in memory and in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import log2

import numpy as np

from feilun.core.similarity import native
from feilun.core.text import Texts

RECORDS_AT_ONCE = 2**22
"""Of a band, in a thread: 32 MB, and as much again to sort them."""
ROWS_PER_PICK = 2**16
LENIENCE = (3.3, 1.5, 0.0)
"""How many standard deviations more bits than the threshold lets expect may differ in two
digests: 3.3 loses one in 2,000 of the pairs that are just at the threshold. The others are for
the third and the seventh candidate of a row in a group of more than 16 rows."""

Keys = Callable[[int], Iterator[tuple[int, np.ndarray]]]
"""Of a band: the number of a first row and the keys from that row on, piece by piece."""


def linked(
    texts: Texts | native.Stored,
    hashes: np.ndarray,
    digests: np.ndarray,
    keys: Keys,
    num_bands: int,
    *,
    threshold: float,
    num_threads: int | None = None,
) -> np.ndarray:
    """The first row of each row's cluster, uint32: texts that are equal, or whose shingle sets
    have a Jaccard similarity of at least `threshold`, or that such texts connect.

    Threads share the bands, large bands in parts; what is compared does not depend on what is
    joined already, so the result does not depend on them. `digests` is written to.
    """
    rows = native.Rows(texts, hashes, digests, allowed(threshold), threshold)
    bits = part_bits(texts.num)
    parts = range(2**bits)
    native.each([partial(_join_twins, rows, part, bits) for part in parts], num_threads)
    tasks = [
        partial(_link_band, rows, keys, band, part, bits)
        for band in range(num_bands)
        for part in parts
    ]
    native.each(tasks, num_threads)
    return rows.flat()


class _Records:
    """Records of one part of a band, collected piece by piece."""

    def __init__(self, expected: int) -> None:
        self._items = np.empty(expected, dtype=np.uint64)
        self._num = 0

    def room(self, num: int) -> np.ndarray:
        """At least `num` free items behind the others."""
        if self._num + num > len(self._items):
            grown = np.empty(max(self._num + num, len(self._items) * 3 // 2), dtype=np.uint64)
            grown[: self._num] = self._items[: self._num]
            self._items = grown
        return self._items[self._num :]

    def add(self, num: int) -> None:
        """The first `num` free items are taken now."""
        self._num += num

    def all(self) -> np.ndarray:
        return self._items[: self._num]


def _join_twins(rows: native.Rows, part: int, bits: int) -> None:
    records = _Records((rows.num >> bits) + ROWS_PER_PICK)
    for first in range(0, rows.num, ROWS_PER_PICK):
        num = min(ROWS_PER_PICK, rows.num - first)
        records.add(rows.pick_twins(num, first, part, bits, records.room(num)))
    rows.link(records.all(), bits, twins=True)


def _link_band(rows: native.Rows, keys: Keys, band: int, part: int, bits: int) -> None:
    records = _Records((rows.num >> bits) + ROWS_PER_PICK)
    for start, held in keys(band):
        for at in range(0, len(held), ROWS_PER_PICK):
            piece = held[at : at + ROWS_PER_PICK]
            room = records.room(len(piece))
            records.add(rows.pick(piece, start + at, part, bits, room))
    rows.link(records.all(), bits, twins=False)


def part_bits(num: int) -> int:
    """Upper bits of a key that say in which part of a band its record is."""
    return 0 if num <= RECORDS_AT_ONCE else min(int(log2((num - 1) // RECORDS_AT_ONCE)) + 1, 8)


def allowed(threshold: float) -> np.ndarray:
    """Bits of two digests that may differ, per `LENIENCE` and number of filled slots (int32).

    A bit differs with a chance of (1 - J) / 2. Of 120 bits, `filled` of 128 slots are drawn on
    their own and the others borrowed, each from any: the variance of the number that differ is
    that of one bit times 120² / n + 120 - n with n = filled · 120 / 128.
    """
    bits, chance = native.DIGEST_BITS, (1 - threshold) / 2
    own = np.maximum(np.arange(native.SLOTS + 1) * bits / native.SLOTS, 1)
    deviation = np.sqrt(chance * (1 - chance) * (bits**2 / own + bits - own))
    return np.array(
        [np.floor(bits * chance + lenience * deviation) for lenience in LENIENCE], dtype=np.int32
    )
