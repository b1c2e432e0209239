"""Texts as the tagger reads them: code points, what each is, and the units they make up."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

BASIC = 0x10000
"""The characters that have traits; those above are known as they are, by `field.c`."""

# As `field.c` names and places them.
_SPACE, _HAN, _NUMERAL, _DIGIT, _LETTER, _HIRAGANA, _KATAKANA, _HANGUL, _OTHER, _MARK = range(10)
_KIND_AT, _UPPER = 16, 1 << 20

_NUMERALS = frozenset("〇零一二三四五六七八九十百千万亿两廿卅")
_KINDS = (
    (0x3040, 0x30A0, _HIRAGANA),
    (0x30A0, 0x3100, _KATAKANA),
    (0x31F0, 0x3200, _KATAKANA),
    (0x3400, 0x4DC0, _HAN),
    (0x4E00, 0xA000, _HAN),
    (0xAC00, 0xD7A4, _HANGUL),
    (0xF900, 0xFB00, _HAN),
    (0x0E00, 0x0F00, _OTHER),  # Thai, Lao: letters without spaces, as the next two
    (0x1000, 0x10A0, _OTHER),
    (0x1780, 0x1800, _OTHER),
)


class Characters(NamedTuple):
    """The code points of texts, uint32, and where each text starts (one more: where the next
    would), int64."""

    points: np.ndarray
    starts: np.ndarray

    @property
    def num(self) -> int:
        """How many texts."""
        return len(self.starts) - 1


def characters(texts: Sequence[str]) -> Characters:
    """The texts as code points; any string will do, lone surrogates too."""
    starts = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=starts[1:])
    joined = "".join(texts).encode("utf-32-le", "surrogatepass")
    return Characters(np.frombuffer(joined, dtype="<u4").astype(np.uint32, copy=False), starts)


@cache
def traits() -> np.ndarray:
    """Of each character below `BASIC`, uint32: its form (NFKC and case folded, where that is one
    character), its kind, and whether it is a capital."""
    found = np.zeros(BASIC, dtype=np.uint32)
    for code in range(BASIC):
        char = chr(code)
        wide = unicodedata.normalize("NFKC", char)
        plain = wide if len(wide) == 1 else char
        low = plain.casefold()
        form = low if len(low) == 1 and ord(low) < BASIC else plain
        found[code] = ord(form) | _kind(plain) << _KIND_AT | (_UPPER if form != plain else 0)
    found.setflags(write=False)
    return found


def _kind(char: str) -> int:
    if char.isspace():
        return _SPACE
    if char in _NUMERALS:
        return _NUMERAL
    category = unicodedata.category(char)
    if category == "Nd":
        return _DIGIT
    if category[0] not in "LM" and char != "_":
        return _MARK
    code = ord(char)
    return next((kind for first, end, kind in _KINDS if first <= code < end), _LETTER)
