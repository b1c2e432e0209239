"""Which script the letters of each text are of."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

SCRIPTS = (
    "none", "latin", "han", "traditional", "simplified", "kana", "hangul", "cyrillic", "arabic",
    "devanagari", "thai", "hebrew", "greek", "armenian", "georgian", "bengali", "gujarati",
    "gurmukhi", "tamil", "telugu", "kannada", "malayalam", "sinhala", "khmer", "lao", "myanmar",
    "amharic", "other",
)  # fmt: skip
"""`traditional` and `simplified` are the Chinese characters that only one of the two has."""
_RANGES: dict[str, tuple[tuple[int, int], ...]] = {
    "latin": (
        (0x41, 0x5B), (0x61, 0x7B), (0xC0, 0xD7), (0xD8, 0xF7), (0xF8, 0x2B0), (0x1E00, 0x1F00),
        (0xFF21, 0xFF3B), (0xFF41, 0xFF5B),
    ),
    "han": (
        (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x323B0), (0x3005, 0x3008),
    ),
    "kana": ((0x3041, 0x3097), (0x30A1, 0x30FB), (0x31F0, 0x3200), (0xFF66, 0xFF9E)),
    "hangul": ((0x1100, 0x1200), (0x3131, 0x318F), (0xAC00, 0xD7A4)),
    "cyrillic": ((0x400, 0x530), (0x1C80, 0x1C89), (0x2DE0, 0x2E00), (0xA640, 0xA6A0)),
    "arabic": ((0x620, 0x660), (0x66E, 0x6DD), (0x6FA, 0x700), (0x750, 0x780), (0x8A0, 0x8E0),
               (0xFB50, 0xFE00), (0xFE70, 0xFEFD)),
    "devanagari": ((0x900, 0x966), (0x970, 0x980)),
    "thai": ((0xE01, 0xE3B), (0xE40, 0xE4F)),
    "hebrew": ((0x5D0, 0x5F3), (0xFB1D, 0xFB50)),
    "greek": ((0x370, 0x400), (0x1F00, 0x2000)),
    "armenian": ((0x531, 0x58A),),
    "georgian": ((0x10A0, 0x1100), (0x1C90, 0x1CC0)),
    "bengali": ((0x980, 0x9E6),),
    "gurmukhi": ((0xA00, 0xA66),),
    "gujarati": ((0xA80, 0xAE6),),
    "tamil": ((0xB80, 0xBE6),),
    "telugu": ((0xC00, 0xC66),),
    "kannada": ((0xC80, 0xCE6),),
    "malayalam": ((0xD00, 0xD66),),
    "sinhala": ((0xD80, 0xDE6),),
    "lao": ((0xE80, 0xED0),),
    "myanmar": ((0x1000, 0x1040), (0x1050, 0x1090)),
    "amharic": ((0x1200, 0x1360), (0x1380, 0x13A0)),
    "khmer": ((0x1780, 0x17D4),),
}  # fmt: skip
_BLOCK = 2**22


def letters(texts: pl.Series) -> np.ndarray:
    """How many letters of each of `SCRIPTS` each text has: (texts, scripts), int32; null counts
    as having none. Letters of further scripts are `other`, what is no letter is `none`."""
    lengths = texts.str.len_chars().fill_null(0).to_numpy().astype(np.int64)
    found = np.zeros((len(texts), len(SCRIPTS)), dtype=np.int32)
    ends = np.cumsum(lengths)
    first = 0
    while first < len(texts):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        content = texts.slice(first, last - first).fill_null("").str.join("")[0]
        script = _table()[np.frombuffer(content.encode("utf-32-le"), dtype=np.uint32)]
        cells = np.repeat(np.arange(last - first) * len(SCRIPTS), lengths[first:last]) + script
        counts = np.bincount(cells, minlength=(last - first) * len(SCRIPTS))
        found[first:last] = counts.reshape(-1, len(SCRIPTS))
        first = last
    return found


@cache
def _table() -> np.ndarray:
    """The place in `SCRIPTS` of each code point (uint8)."""
    from feilun.stages.prepare import hanzi

    table = np.zeros(0x110000, dtype=np.uint8)
    # A part at a time: a million strings at once are memory that a process keeps.
    for first in range(0, len(table), 0x800):
        if first != 0xD800:  # no characters, and a part of their own
            every = pl.Series([chr(code) for code in range(first, first + 0x800)])
            is_letter = every.str.contains(r"\p{L}").to_numpy()
            table[first : first + 0x800][is_letter] = SCRIPTS.index("other")
    for script, ranges in _RANGES.items():
        for first, end in ranges:
            table[first:end] = SCRIPTS.index(script)
    for script, characters in (
        ("simplified", hanzi.simplified()),
        ("traditional", hanzi.traditional()),
    ):
        table[[ord(character) for character in characters]] = SCRIPTS.index(script)
    return table
