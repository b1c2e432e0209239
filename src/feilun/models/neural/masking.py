"""Which ids are hidden, what stands in their place, and what is to be found.

(Devlin et al., NAACL 2019.) Drawn anew for every batch of every epoch, from the seed and the
batch's place alone: a training that goes on after a kill draws the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ASKED_NOT = -100
AS_MASK, AS_OTHER = 0.8, 0.1
"""Of the hidden ids: shown as [MASK], shown as any other id; the rest is left as it is."""


class Vocabulary(NamedTuple):
    """What masking knows of ids: [MASK], and those that may be hidden or stand in for others."""

    mask: int
    plain: np.ndarray
    """For each id whether it says something (bool): not special, not unknown."""


def hidden(
    start: np.ndarray, row: np.ndarray, may: np.ndarray, share: float, random: np.random.Generator
) -> np.ndarray:
    """Which of the ids of a batch are hidden (bool), whole words of them.

    All are flat, id after id and row after row: whether a word begins at it, its row, whether it
    may be hidden. Words are drawn from each row in random order until `share` of its ids is
    reached; the one that would overstep it is taken with the probability with which the
    expected number of hidden ids is exact. At least one id of the batch is hidden, if any may.
    """
    first = start.copy()
    first[1:] |= row[1:] != row[:-1]
    word = np.cumsum(first) - 1
    count = int(word[-1]) + 1 if len(word) else 0
    length = np.bincount(word, minlength=count)
    whole = np.bincount(word, weights=~may, minlength=count) == 0
    of = row[first]
    key = np.where(whole, random.random(count), 2.0)
    order = np.lexsort((key, of))
    ranked = np.where(whole, length, 0)[order]
    before = np.cumsum(ranked) - ranked
    begins = np.flatnonzero(np.diff(of[order], prepend=-1))
    before = before - np.repeat(before[begins], np.diff(np.append(begins, count)))
    wanted = share * np.bincount(row, minlength=int(row[-1]) + 1 if len(row) else 0)[of[order]]
    chance = np.clip((wanted - before) / np.maximum(length[order], 1), 0, 1)
    taken = np.zeros(count, dtype=bool)
    taken[order] = (random.random(count) < chance) & whole[order]
    if not taken.any() and whole.any():
        taken[int(key.argmin())] = True
    found: np.ndarray = taken[word]
    return found


def replaced(ids: np.ndarray, vocabulary: Vocabulary, random: np.random.Generator) -> np.ndarray:
    """What is shown in place of hidden `ids`: [MASK] for 80 %, any other plain id for 10 %, the
    id itself for 10 %, each drawn on its own."""
    others = np.flatnonzero(vocabulary.plain)
    drawn = random.random(len(ids))
    other = others[random.integers(0, len(others), len(ids))] if len(others) else ids
    shown = np.where(drawn < AS_MASK, vocabulary.mask, ids)
    result: np.ndarray = np.where((drawn >= AS_MASK) & (drawn < AS_MASK + AS_OTHER), other, shown)
    return result
