"""Clusters of texts that are nearly the same."""

from __future__ import annotations

import polars as pl

from feilun.core.similarity import linking, native
from feilun.core.text import Texts, utf8

RECALL = 0.996
"""Least chance that two texts exactly at the threshold share a band; it grows fast above."""
MOST_ROWS = 16


def near_duplicates(
    texts: pl.Series | Texts, *, threshold: float = 0.7, num_threads: int | None = None
) -> pl.Series:
    """The cluster of each text: the row number (UInt32) of the cluster's first row.

    Two texts are near-duplicates when the Jaccard similarity of their sets of character
    5-grams is at least `threshold` (above 0, at most 1), or when they are equal; a cluster is
    what near-duplicates connect, so its ends may be less alike. A text of fewer than five
    characters is only ever equal to another; null counts as "". Give the form in which case,
    white space and punctuation no longer count: they are characters here.

    Candidates come from one-permutation MinHash with optimal densification (Li, Owen, Zhang
    2012; Shrivastava 2017), 128 slots in bands (Broder 1997; Leskovec et al., Mining of
    Massive Datasets, 3.4); digests of one bit a slot (Li and König 2010) sort out most of
    them, and each that is left is verified on the shingles themselves, so no two texts are
    joined by chance. Two texts exactly at the threshold are missed with a chance below 0.5 %
    (at 0.7: 0.4 %; two at 0.8: two in 100,000). The partition depends neither on the order of
    the texts nor on `num_threads` (None: one per processor).

    Memory: one copy of the texts' UTF-8 and, per text, 4 bytes a band (21 bands at 0.7) and
    50 more; while two texts are compared, up to 100 bytes per character of them. Time grows
    with the bytes: what phrases of the whole corpus would make quadratic is cut (see
    `link_members` in links.c). For more texts than memory holds there is `shards.py`.
    """
    bands = bands_for(threshold)
    given = texts if isinstance(texts, Texts) else utf8(texts)
    signed = native.sign(given, bands, num_threads)
    found = linking.linked(
        given,
        signed.hashes,
        signed.digests,
        lambda band: iter([(0, signed.keys[band])]),
        bands.num,
        threshold=threshold,
        num_threads=num_threads,
    )
    return pl.Series("cluster" if isinstance(texts, Texts) else texts.name, found)


def bands_for(threshold: float) -> native.Bands:
    """The bands of most rows that compare two texts at the threshold in `RECALL` of all cases or
    more; raises ValueError for a threshold that means nothing."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must be above 0 and at most 1")
    for rows in range(MOST_ROWS, 0, -1):
        for num in range(1, native.SLOTS // rows + 1):
            bands = native.Bands(num, rows)
            if chance(bands, threshold) >= RECALL:
                return bands
    return native.Bands(native.SLOTS, 1)


def chance(bands: native.Bands, likeness: float) -> float:
    """The chance that two texts of that Jaccard similarity share a band."""
    return 1 - (1 - likeness**bands.rows) ** bands.num
