"""One way to write the same text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from feilun.core.run import Run
from feilun.stages.prepare import hanzi, mojibake
from feilun.stages.prepare.step import Rewrite

if TYPE_CHECKING:
    import polars as pl

ROUNDS = 8
"""Mending one thing may show another (a text read wrongly twice); deeper, nobody writes."""

_MADE_SPACE = (
    "\u00a8\u00af\u00b4\u00b8\u02d8-\u02dd\u037a\u0384\u0385\u1fbd\u1fbf-\u1fc1\u1fcd-\u1fcf"
    "\u1fdd-\u1fdf\u1fed-\u1fef\u1ffd\u1ffe\u2017\u203e\u309b\u309c\ufc5e-\ufc63\ufdfa\ufdfb"
    "\ufe49-\ufe4c\ufe70-\ufe7f\uffe3"
)
"""What NFKC writes with a space: ´ as a space and a combining accent."""
_UNTIDY = rf"^\x20|\x20$|\x20\x20|[\p{{Cc}}\p{{Cf}}{_MADE_SPACE}]|[\s&&[^\x20]]"
"""Texts without a match need NFKC and nothing else."""
_INVISIBLE = r"[\p{Cf}&&[^\x{200B}-\x{200D}]]+"
_SPACE = r"[\p{Cc}\s\x{200B}]+"
_BREAK = r"[\p{Cc}\s\x{200B}]*[\n\r\x0b\x0c\x{85}\x{2028}\x{2029}][\p{Cc}\s\x{200B}]*"
_NO_BREAK = r"[\p{Cc}\s\x{200B}&&[^\n]]+"

_JOINERS = re.compile(
    # An emoji of several (👩‍🚀, 👨‍👩‍👧) and the scripts that write with joiners keep them.
    "(?<=[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])(\u200d)(?=[\u2600-\u27bf\U0001f000-\U0001faff])"
    "|(?<=[\u0600-\u08ff\u0900-\u0dff])([\u200c\u200d])(?=[\u0600-\u08ff\u0900-\u0dff])"
    "|[\u200c\u200d]"
)


class Normalise(Rewrite):
    """One way to write the same text: full-width, ligature and circled forms become plain
    ones (Unicode NFKC), invisible characters go, control characters and runs of white space
    become one space, the ends are trimmed; what is then empty is dropped as `empty`.

    Normalising twice is normalising once. Texts that were read in the wrong encoding are mended
    (`mojibake`): by ftfy, or, where UTF-8 was read as GBK and no byte was lost, by reading it
    again. Zero-width joiners stay where they mean something: within emoji, Arabic, Indic scripts.
    """

    use: ClassVar[str] = "normalise"

    mojibake: bool = Field(True, description="mend texts that were read in the wrong encoding")
    traditional: Literal["keep", "simplify"] = Field(
        "keep", description="what becomes of traditional Chinese characters (OpenCC t2s)"
    )
    lines: Literal["join", "keep"] = Field(
        "join", description="whether a line break becomes a space, or stays one line feed"
    )

    def rewritten(self, texts: pl.Series, run: Run) -> pl.Series:
        fresh = self._written(texts)
        for _round in range(ROUNDS if self.mojibake else 0):
            rows = mojibake.suspicious(fresh).fill_null(False).arg_true()
            again = self._written(fresh.gather(rows))
            if again.equals(fresh.gather(rows), check_names=False):
                break
            fresh = _put(fresh, rows, again)
        return fresh

    def _written(self, texts: pl.Series) -> pl.Series:
        from feilun.stages.prepare.nfkc import plain

        if self.mojibake:
            # Before NFKC, which writes half of what mojibake is made of in another way.
            texts = _each(texts, mojibake.suspicious(texts), mojibake.mended)
        fresh, hard = plain(texts)
        if len(hard):
            fresh = _put(fresh, hard, self._composed(texts.gather(hard)))
        if self.traditional == "simplify":
            fresh = _each(fresh, hanzi.with_traditional(fresh), hanzi.simplify)
        return fresh

    def _composed(self, texts: pl.Series) -> pl.Series:
        """What `plain` leaves: any character, any white space."""
        untidy = texts.str.contains(_UNTIDY).fill_null(False).arg_true()
        fresh = _compatible(texts)
        return _put(fresh, untidy, self._tidied(texts.gather(untidy))) if len(untidy) else fresh

    def _tidied(self, texts: pl.Series) -> pl.Series:
        # Before NFKC: what stands on both sides of an invisible character may compose.
        texts = texts.str.replace_all(_INVISIBLE, "")
        texts = _each(texts, texts.str.contains("[\u200c\u200d]"), _joined)
        texts = texts.str.normalize("NFKC")
        if self.lines == "join":
            return texts.str.replace_all(_SPACE, " ").str.strip_chars()
        texts = texts.str.replace_all(_BREAK, "\n")
        return texts.str.replace_all(_NO_BREAK, " ").str.strip_chars()


def _compatible(texts: pl.Series) -> pl.Series:
    """NFKC; ASCII is in it already, and a quarter of the time is not spent on finding out."""
    foreign = (texts.str.len_bytes() != texts.str.len_chars()).fill_null(False).arg_true()
    if len(foreign) == len(texts):
        return texts.str.normalize("NFKC")
    return _put(texts, foreign, texts.gather(foreign).str.normalize("NFKC"))


def _joined(text: str) -> str:
    return _JOINERS.sub(r"\1\2", text)


def _each(texts: pl.Series, chosen: pl.Series, rewrite: Callable[[str], str]) -> pl.Series:
    """`texts`, the chosen ones rewritten one by one."""
    import polars as pl

    rows = chosen.fill_null(False).arg_true()
    if not len(rows):
        return texts
    fresh = [rewrite(text) for text in texts.gather(rows)]
    return _put(texts, rows, pl.Series(fresh, dtype=pl.String))


def _put(texts: pl.Series, rows: pl.Series, fresh: pl.Series) -> pl.Series:
    # `scatter` writes into the very series it is called on.
    return texts.clone().scatter(rows, fresh)
