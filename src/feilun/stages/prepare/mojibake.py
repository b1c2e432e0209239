"""Texts that were read in the wrong encoding, read again in the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_FOLLOWS = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
"""What the later bytes of a UTF-8 character look like in Latin-1 and Windows-1252."""
_AS_LATIN = f"[Â-ô][{_FOLLOWS}]"
_LATIN_BYTE = b"\xc3"
"""The first byte of À to ÿ in UTF-8; in no text of ASCII and Chinese."""
_AS_GBK = "锛|銆|鐨|鈥|涓€"
"""What ，。的“一, written as UTF-8 and read as GBK, begin with: rare characters otherwise."""


def suspicious(texts: pl.Series) -> pl.Series:
    """For each text whether UTF-8 may have been read as Latin-1, Windows-1252 or GBK (Boolean,
    null for null). Most of those that are true are sound; those that are false are."""
    import polars as pl

    # Memory is searched for one byte ten times as fast as texts are matched against a pattern.
    latin = texts.cast(pl.Binary).bin.contains(_LATIN_BYTE)
    if latin.any():
        latin = latin & texts.str.contains(_AS_LATIN)
    return latin | texts.str.contains(_AS_GBK)


def mended(text: str) -> str:
    """`text` as it was meant: `cafÃ©` → `café`, `浣犲ソ锛` → as much as ftfy, or reading GBK's
    bytes as UTF-8, makes of it; unchanged if it was sound, or is beyond repair."""
    from ftfy import fix_encoding

    try:
        # Chinese text whose bytes in GBK happen to be UTF-8 from first to last: it was UTF-8.
        return text.encode("gb18030").decode("utf-8") if not text.isascii() else text
    except UnicodeError:
        pass
    fixed = fix_encoding(text)
    try:
        fixed.encode()
    except UnicodeEncodeError:  # a lone surrogate, which is no text
        return text
    return fixed
