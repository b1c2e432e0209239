"""Chinese characters that only one of the two scripts has."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from opencc import OpenCC

_BLOCKS = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x323B0))
"""Where Unicode keeps Chinese characters: extension A, the first block, the compatibility forms,
extensions B to H."""


@cache
def traditional() -> str:
    """Every character that simplifying writes in another way (國, 這, 後), as one string."""
    characters, simplified, _complicated = _table()
    return "".join(old for old, new in zip(characters, simplified, strict=True) if old != new)


@cache
def simplified() -> str:
    """Every character that traditional Chinese writes in another way (国, 这), as one string;
    some of them are traditional characters of another meaning, too (后, 里)."""
    characters, simplified, complicated = _table()
    return "".join(
        old
        for old, fewer, more in zip(characters, simplified, complicated, strict=True)
        if old == fewer != more
    )


def with_traditional(texts: pl.Series) -> pl.Series:
    """For each text whether it has a character that only traditional Chinese has (Boolean)."""
    return texts.str.contains(f"[{traditional()}]")


def simplify(text: str) -> str:
    """`text` in simplified characters, phrase by phrase, by OpenCC's `t2s`; simplified already,
    it stays as it is."""
    for _time in range(4):  # 薴 becomes 苧, and that 苎
        fresh = str(_converter("t2s").convert(text))
        if fresh == text:
            break
        text = fresh
    return text


@cache
def _converter(name: str) -> OpenCC:
    from opencc import OpenCC

    return OpenCC(name)


@cache
def _table() -> tuple[list[str], list[str], list[str]]:
    """Every character; what it is simplified; what it is in the traditional script."""
    # OpenCC does not give its table away. Line feeds keep it from seeing phrases.
    characters = [chr(code) for first, end in _BLOCKS for code in range(first, end)]
    text = "\n".join(characters)
    return (
        characters,
        simplify(text).split("\n"),
        str(_converter("s2t").convert(text)).split("\n"),
    )
