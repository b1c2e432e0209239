"""Texts that name a person, as they are looked for: however they were spaced and written."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from feilun.core.errors import Invalid
from feilun.core.i18n import _

LEAST_CHARACTERS = 4
"""Of an identifier without Chinese characters: a shorter one stands in half of all texts."""
LEAST_HAN = 2
_GAPS = r"[\s\p{Pd}()（）]+"


class IdentifierTooShort(Invalid):
    """What is to be erased is too short to mean one person."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "A text to erase has at least {letters} letters or digits, or {han} Chinese "
                "characters; a shorter one is found in texts of others."
            ).format(letters=LEAST_CHARACTERS, han=LEAST_HAN),
            remedy="feilun erase --text 13800138000",
        )


class Identifiers:
    """What to look for: `texts` (numbers, addresses, names), in any case and width, and with or
    without spaces, hyphens and brackets in them; raises `IdentifierTooShort`."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.folded = tuple(self._fold(pl.Series(texts, dtype=pl.String)).to_list())
        for text in self.folded:
            han = sum("\u4e00" <= character <= "\u9fff" for character in text)
            if len(text) < (LEAST_HAN if han >= LEAST_HAN else LEAST_CHARACTERS):
                raise IdentifierTooShort()

    def __bool__(self) -> bool:
        return bool(self.folded)

    def within(self, texts: pl.Series) -> pl.Series:
        """Whether each text has one of them (a null has none)."""
        if not self.folded:
            return pl.repeat(False, len(texts), eager=True)
        found = self._fold(texts).str.contains_any(list(self.folded))
        return found.fill_null(False)

    def within_bytes(self, content: bytes) -> bool:
        """Whether a file of text has one of them; a binary file has none."""
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return False
        return bool(self.within(pl.Series([text], dtype=pl.String)).any())

    @staticmethod
    def _fold(texts: pl.Series) -> pl.Series:
        return texts.str.normalize("NFKC").str.to_lowercase().str.replace_all(_GAPS, "")
