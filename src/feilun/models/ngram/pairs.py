"""Two texts as features that do not know which came first: what both say, what one says, how
alike they are.

A linear machine that is to answer alike for (a, b) and (b, a) has one weight for an n-gram that
only a has and the same for one that only b has; so an n-gram has two columns: in both texts, in
one of them. Beside these stand a few figures: for each order of n-grams (and for the words) three
similarities of the texts' tf-idf, then the ratio of their lengths and the numbers they share.
These carry what is the same in all subjects, the columns what a subject's words say of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from feilun.core.compiled import usable_cores
from feilun.models.ngram import native
from feilun.models.ngram.native import Rows, Shape, Texts
from feilun.models.ngram.text import lines

AT_ONCE = 1024
"""Pairs per piece of work: bounds the memory that an answer takes."""
NOTHING = 0.5
"""The similarity of two texts neither of which has anything of a kind."""
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")

Pair = tuple[str, str]


class Vocabulary(NamedTuple):
    """The n-grams that have columns: ascending `buckets`, with `idf` each (float32); `rare` is the
    idf of all others."""

    buckets: np.ndarray
    idf: np.ndarray
    rare: float


class PairRows(NamedTuple):
    """`rows` in columns: feature f in both texts f, in one num_features + f; `dense` [pairs,
    num_dense], float32, -1 … 1; `known`: both texts have an n-gram, bool [pairs]."""

    rows: Rows
    dense: np.ndarray
    known: np.ndarray


def vocabulary(pairs: Sequence[Pair], shape: Shape, min_texts: int) -> Vocabulary:
    """The n-grams that occur in at least `min_texts` of all texts."""
    counts = np.zeros(2**shape.bits, dtype=np.int32)
    for first in range(0, len(pairs), AT_ONCE):
        for texts in _sides(pairs[first : first + AT_ONCE]):
            # Order by order, as the reader does: two orders may meet in one bucket.
            for order in orders(shape):
                native.count(native.grams(texts, order, 0, texts.num)[0], counts)
    buckets = np.flatnonzero(counts >= min_texts).astype(np.int32)
    num = np.float32(1 + 2 * len(pairs))
    one = np.float32(1)
    idf = np.log(num / (counts[buckets] + one), dtype=np.float32) + one
    return Vocabulary(buckets, np.maximum(idf, np.float32(0.1)), float(np.log(num) + one))


def orders(shape: Shape) -> list[Shape]:
    """The n-grams of `shape` a kind at a time: characters order by order, words together."""
    kinds = [Shape(n, n, 0, shape.bits) for n in range(shape.min_chars, shape.max_chars + 1)]
    return kinds + ([Shape(2, 1, shape.max_words, shape.bits)] if shape.max_words else [])


def num_dense(shape: Shape) -> int:
    """How many figures stand beside the columns."""
    return 3 * len(orders(shape)) + 2


class PairReader:
    """Pairs to rows, by a vocabulary; holds nothing that a call changes."""

    def __init__(self, shape: Shape, known: Vocabulary) -> None:
        self._orders = orders(shape)
        self._bits = shape.bits
        self._known = known
        self._idf = np.append(known.idf, np.float32(known.rare)).astype(np.float64)
        self._index = native.index(known.buckets, shape.bits)

    def read(self, pairs: Sequence[Pair]) -> PairRows:
        """The rows of any number of pairs."""
        starts = range(0, len(pairs), AT_ONCE)
        pieces = list(
            native.ordered(
                lambda i: self._piece(pairs[starts[i] : starts[i] + AT_ONCE]),
                len(starts),
                usable_cores(),
            )
        )
        if len(pieces) == 1:
            return pieces[0]
        sizes = [np.diff(piece.rows.starts) for piece in pieces]
        ends = np.concatenate([np.zeros(1, dtype=np.int64), *sizes]).cumsum()
        nothing = Rows(ends, np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))
        if not pieces:
            width = 3 * len(self._orders) + 2
            return PairRows(nothing, np.zeros((0, width), np.float32), np.zeros(0, dtype=bool))
        return PairRows(
            Rows(
                ends,
                np.concatenate([piece.rows.columns for piece in pieces]),
                np.concatenate([piece.rows.values for piece in pieces]),
            ),
            np.concatenate([piece.dense for piece in pieces]),
            np.concatenate([piece.known for piece in pieces]),
        )

    def _piece(self, pairs: Sequence[Pair]) -> PairRows:
        num = len(pairs)
        sides = _sides(pairs)
        something = np.zeros((2, num), dtype=bool)
        dense, rows, columns, values = [], [], [], []
        for order in self._orders:
            keys, first, second = _met(*(self._keys(side, order) for side in sides))
            row, bucket = keys >> self._bits, keys & (2**self._bits - 1)
            feature = native.lookup(*self._index, bucket.astype(np.int32))
            dense += _similarities(row, self._idf[feature], first, second, num)
            for i, side in enumerate((first, second)):
                something[i] |= np.bincount(row, side, num) > 0
            own, both = feature >= 0, (first > 0) & (second > 0)
            column = feature + np.where(both, 0, len(self._known.buckets))
            rows.append(row[own])
            columns.append(column[own])
            values.append(((first + second) / np.where(both, 2, 1))[own])
        dense += [_lengths(sides), _numbers(sides)]
        row = np.concatenate(rows)
        order_of = np.argsort(row, kind="stable")
        starts = np.zeros(num + 1, dtype=np.int64)
        np.cumsum(np.bincount(row, minlength=num), out=starts[1:])
        found = Rows(
            starts,
            np.concatenate(columns)[order_of].astype(np.int32),
            np.concatenate(values)[order_of].astype(np.float32),
        )
        figures = (2 * np.stack(dense, axis=1) - 1).astype(np.float32)
        return PairRows(found, figures, something[0] & something[1])

    def _keys(self, texts: Texts, order: Shape) -> tuple[np.ndarray, np.ndarray]:
        """Each n-gram of each text as one number, the text first; and its damped count."""
        buckets, values, sizes = native.grams(texts, order, 0, texts.num)
        rows = np.repeat(np.arange(texts.num, dtype=np.int64), sizes)
        return rows << self._bits | buckets, values.astype(np.float64)


def _sides(pairs: Sequence[Pair]) -> tuple[Texts, Texts]:
    firsts, seconds = ([pair[i] for pair in pairs] for i in (0, 1))
    return native.texts(lines(firsts), len(pairs)), native.texts(lines(seconds), len(pairs))


def _met(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct keys, ascending, with the value of each on either side, 0 where it is not.
    In the order of the keys alone, so that sums over them are the same the other way round."""
    keys = np.concatenate([first[0], second[0]])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = keys[1:] != keys[:-1]
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    sides = np.zeros((2, int(new.sum())))
    sides[0, place[: len(first[0])]] = first[1]
    sides[1, place[len(first[0]) :]] = second[1]
    return keys[new], sides[0], sides[1]


def _similarities(
    row: np.ndarray, idf: np.ndarray, first: np.ndarray, second: np.ndarray, num: int
) -> list[np.ndarray]:
    """Of each pair, 0 … 1: the cosine of the weighed counts, the weighted Jaccard index (what they
    share of what there is), and what they share of the poorer one's."""
    first, second = first * idf, second * idf

    def total(values: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.bincount(row, values, num)
        return result

    shared, sums = total(np.minimum(first, second)), (total(first), total(second))
    lengths = np.sqrt(total(first**2)) * np.sqrt(total(second**2))
    either = sums[0] + sums[1] > 0
    found = []
    for part, whole in (
        (total(first * second), lengths),
        (shared, sums[0] + sums[1] - shared),
        (shared, np.minimum(*sums)),
    ):
        share = np.divide(part, whole, out=np.zeros(num), where=whole > 0)
        found.append(np.where(either, np.minimum(share, 1.0), NOTHING))
    return found


def _lengths(sides: tuple[Texts, Texts]) -> np.ndarray:
    first, second = (np.diff(side.starts).astype(np.float64) for side in sides)
    result: np.ndarray = np.minimum(first, second) / np.maximum(first, second)
    return result


def _numbers(sides: tuple[Texts, Texts]) -> np.ndarray:
    """What share of the numbers written in either text is in both."""
    first, second = ([set(_NUMBER.findall(line)) for line in _decoded(side)] for side in sides)
    return np.array(
        [len(a & b) / len(a | b) if a or b else NOTHING for a, b in zip(first, second, strict=True)]
    )


def _decoded(texts: Texts) -> list[str]:
    return texts.content.decode("utf-8", "surrogatepass").split("\n")
