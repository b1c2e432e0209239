"""Intervals by the bootstrap: what figures would have been on other records of the same kind.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 6 and 13.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from feilun.core.artifacts import Interval

RESAMPLES = 2000
FEWEST_RESAMPLES = 400
_MOST_DRAWS = 2**28
"""Of single records, in all resamples together: a second or so."""
_BLOCK = 2**22
"""Numbers of one block of draws: 32 MB."""
_CATEGORY = 10
"""Drawing how often one outcome occurs takes as long as drawing so many records (measured)."""


def draws(counts: np.ndarray, seed: int, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each outcome occurs in each resample: blocks float64 `[some, len(counts)]`.

    `counts` says how often each was observed. Drawing n records with replacement and counting
    outcomes is drawing the counts from a multinomial distribution over the outcomes: with few
    of them that is what is done, in no time however many the records are. Else records are drawn
    one by one, and of more than 134,000 records fewer resamples, down to `FEWEST_RESAMPLES`.
    The same counts and seed give the same draws, also for other figures of the same records.
    """
    total, size = int(counts.sum()), len(counts)
    if total == 0:
        return
    random = np.random.default_rng(seed)
    few = size * _CATEGORY <= total
    if not few:
        resamples = min(resamples, max(_MOST_DRAWS // total, FEWEST_RESAMPLES))
    owners = np.repeat(np.arange(size), counts)
    step = max(_BLOCK // (size if few else total), 1)
    for start in range(0, resamples, step):
        num_rows = min(step, resamples - start)
        if few:
            yield random.multinomial(total, counts / total, size=num_rows).astype(np.float64)
            continue
        picked = random.integers(0, total, size=(num_rows, total), dtype=np.uint32)
        block = np.empty((num_rows, size))
        for row, at in zip(block, picked, strict=True):
            row[:] = np.bincount(owners[at], minlength=size)
        yield block


def sums(rows: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """The sum of `rows` (float64 `[outcomes, columns]`, whole numbers; `counts` of each), first
    as observed, then in every resample: `[1 + resamples, columns]`. Equal rows are drawn as one."""
    places: dict[bytes, int] = {}
    at = np.array([places.setdefault(row.tobytes(), len(places)) for row in rows], dtype=np.int64)
    merged = np.zeros((len(places), rows.shape[1]))
    merged[at] = rows
    counts = np.bincount(at, counts, len(places)).astype(np.int64)
    found = [block @ merged for block in draws(counts, seed)]
    return np.concatenate([counts[None, :] @ merged, *found])


def interval(values: np.ndarray, confidence: float) -> Interval:
    """The percentile interval of a figure whose observed value is the first of `values` and whose
    values in the resamples are the others. It is widened to hold the observed value, which the
    resamples of a biased figure (a macro average, say) may all lie to one side of."""
    value = float(values[0])
    if len(values) == 1:
        return Interval(value, value, value)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return Interval(value, min(float(low), value), max(float(high), value))
