"""Drawing by lot, so that who goes where does not depend on who came first."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl


def lots(keys: pl.Series, salt: str) -> pl.Series:
    """A number (UInt64) for each key (UInt64), drawn evenly from the key and `salt` alone: the
    finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014)."""
    digest = hashlib.blake2b(salt.encode(), digest_size=8).digest()
    mixed = keys.to_numpy() ^ np.uint64(int.from_bytes(digest))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return pl.Series("lot", mixed ^ (mixed >> np.uint64(31)), dtype=pl.UInt64)
