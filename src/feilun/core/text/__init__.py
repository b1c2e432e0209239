"""Columns of text for the compiled kernels: their bytes, their hashes."""

from feilun.core.text.columns import Texts, hashed, hashes, utf8

__all__ = ["Texts", "hashed", "hashes", "utf8"]
