"""Which texts are nearly the same: for `prepare`, and for whatever checks a test for leaks."""

from feilun.core.similarity.clusters import near_duplicates

__all__ = ["near_duplicates"]
