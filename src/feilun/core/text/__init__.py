"""Columns of text for the compiled kernels: their bytes, their hashes, and back."""

from feilun.core.text.columns import Texts, hashed, hashes, strings, utf8

__all__ = ["Texts", "hashed", "hashes", "strings", "utf8"]
