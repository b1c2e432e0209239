"""Clusters of texts that are nearly the same."""

from __future__ import annotations

import numpy as np
import polars as pl

from feilun.core.similarity import native

RECALL = 0.995
"""Least chance that two texts exactly at the threshold are compared; it grows fast above."""

_ROWS_PER_COPY = 2**18


def near_duplicates(
    texts: pl.Series, *, threshold: float = 0.7, num_threads: int | None = None
) -> pl.Series:
    """The cluster of each text: the row number (UInt32) of the cluster's first row.

    Two texts are near-duplicates when the Jaccard similarity of their sets of character
    5-grams is at least `threshold` (above 0, at most 1), or when they are equal; a cluster is
    what near-duplicates connect, so its ends may be less alike. A text of fewer than five
    characters is only ever equal to another; null counts as "". Give the form in which case,
    white space and punctuation no longer count: they are characters here.

    Candidates come from one-permutation MinHash with optimal densification (Li, Owen, Zhang
    2012; Shrivastava 2017), 128 slots in bands (Broder 1997; Leskovec et al., Mining of
    Massive Datasets, 3.4), and each is verified on the shingles themselves, so no two texts
    are joined by chance. Two texts exactly at the threshold are missed with a chance below
    0.5 % (at 0.7: 0.2 %; two at 0.8: one in a million). The partition depends neither on the
    order of the texts nor on `num_threads` (None: one per processor).

    Memory: one copy of the texts' UTF-8 and, per text, 4 bytes a band (32 bands at 0.7) and
    50 more; while two texts are compared, up to 32 bytes per byte of each of them. Time grows
    with the bytes: what phrases of the whole corpus would make quadratic is cut (see
    `link_row` in signatures.c).
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must be above 0 and at most 1")
    given = _utf8(texts)
    signed = native.sign(given, bands_for(threshold), num_threads)
    return pl.Series(texts.name, native.clusters(given, signed, threshold))


def bands_for(threshold: float) -> native.Bands:
    """The bands with the fewest comparisons for nothing (texts half as alike as `threshold`)
    among those that compare two texts at the threshold in `RECALL` of all cases or more."""
    fitting = [
        bands
        for rows in range(1, 17)
        for shared in (1, 2)
        if chance(bands := native.Bands(native.SLOTS // rows, rows, shared), threshold) >= RECALL
    ]
    finest = native.Bands(native.SLOTS, 1)
    return min(fitting or [finest], key=lambda bands: (chance(bands, threshold / 2), bands.shared))


def chance(bands: native.Bands, likeness: float) -> float:
    """The chance that two texts of that Jaccard similarity are compared: each band is shared
    with likeness^rows, so their number is binomial."""
    one = likeness**bands.rows
    none = (1 - one) ** bands.num
    single = bands.num * one * (1 - one) ** (bands.num - 1)
    return 1 - none - (single if bands.shared == 2 else 0)


def _utf8(texts: pl.Series) -> native.Texts:
    """The texts as the kernels read them; slice by slice, so that there is one copy at most."""
    texts = texts.cast(pl.String).fill_null("")
    starts = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(texts.str.len_bytes().to_numpy(), out=starts[1:])
    content = np.empty(int(starts[-1]), dtype=np.uint8)
    for first in range(0, len(texts), _ROWS_PER_COPY):
        piece = texts.slice(first, _ROWS_PER_COPY)
        # An empty list would come out of `explode` as a null.
        piece = piece.filter(piece != "")
        last = min(first + _ROWS_PER_COPY, len(texts))
        if len(piece):
            flat = piece.cast(pl.Binary).cast(pl.List(pl.UInt8)).explode().to_numpy()
            content[starts[first] : starts[last]] = flat
    return native.Texts(content, starts)
