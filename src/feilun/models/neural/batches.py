"""Which texts are read together: batches of near-equal length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from feilun.models.neural.examples import Examples
from feilun.models.neural.reading import Matrix, Reader, Windows, places

POOL = 50
"""Batches whose texts are sorted by length together: padding falls to 3 % (review sentences), and
texts of like length still meet in ever other company."""


class Plan(NamedTuple):
    """The batches of an epoch: rows of the examples, and of each example what is read of it."""

    batches: list[np.ndarray]
    windows: Windows


class Shelf:
    """Examples as a network is given them; with `twin` each text of a pair on its own."""

    def __init__(self, reader: Reader, examples: Examples, twin: bool) -> None:
        self.reader, self.examples, self.twin = reader, examples, twin
        self.paired = examples.width > 1 and not twin
        if self.paired:
            self.windows = reader.pairs(examples.encoded)
        elif examples.aim == "tokens":
            self.windows = reader.overlapping(examples.encoded)
        else:
            self.windows = reader.windows(examples.encoded)

    @property
    def num_long(self) -> int:
        """How many texts (or pairs read together) are longer than the network reads at once."""
        return int((np.bincount(self.windows.text, minlength=1) > 1).sum())

    def plan(self, seed: int, epoch: int, batch_size: int) -> Plan:
        """The batches of an epoch. Of a text longer than the window, every epoch reads another
        stretch."""
        random = np.random.default_rng([seed & 0xFFFFFFFF, epoch])
        read = self._stretches(random)
        length = read.read if not self.twin else read.length.reshape(-1, 2).max(axis=1)
        shuffled = random.permutation(self.examples.num)
        pool = batch_size * POOL
        batches = []
        for at in range(0, len(shuffled), pool):
            near = shuffled[at : at + pool]
            near = near[np.argsort(length[near], kind="stable")]
            batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
        return Plan([batches[i] for i in random.permutation(len(batches))], read)

    def _stretches(self, random: np.random.Generator) -> Windows:
        """One window of every text, or of every pair, anywhere in it."""
        encoded = self.examples.encoded
        if self.paired:
            first = np.flatnonzero(np.diff(self.windows.text, prepend=-1))
            counts = np.diff(np.append(first, len(self.windows.text)))
            return self.windows.at(first + random.integers(0, counts))
        lengths = encoded.lengths
        body = self.reader.max_length - self.reader.frame.around_one
        read = np.minimum(lengths, body)
        start = encoded.start[:-1] + random.integers(0, lengths - read, endpoint=True)
        return Windows(start, read, np.arange(len(lengths)))

    def matrix(self, windows: Windows) -> Matrix:
        """A batch of windows over the examples' ids."""
        return self.reader.matrix(self.examples.encoded.ids, windows)

    def chosen(self, plan: Plan, rows: np.ndarray) -> Windows:
        """What is read of these examples; of twins two windows for each."""
        if self.twin:
            rows = np.stack([2 * rows, 2 * rows + 1], axis=1).ravel()
        return plan.windows.at(rows)

    def aimed(self, windows: Windows, rows: np.ndarray, matrix: Matrix) -> np.ndarray:
        """The targets of these examples, of which `windows` are read as `matrix`: each one's, or
        in the matrix's shape each id's, −100 where nothing is asked."""
        target = self.examples.target
        if self.examples.aim != "tokens":
            each: np.ndarray = target[rows]
            return each
        found = np.full(matrix.ids.shape, -100, dtype=np.int64)
        whose, place, at = places(windows, len(self.reader.frame.before))
        found[whose, place] = target[at]
        return found

    def by_length(self, size: int) -> Iterator[np.ndarray]:
        """Runs of all of `windows`, sorted by length, `size` at a time."""
        order = np.argsort(self.windows.read, kind="stable")
        for at in range(0, len(order), size):
            yield order[at : at + size]
