"""Records that are not worth learning from, told by their form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Self

import polars as pl
from pydantic import Field, model_validator

from feilun.core.errors import Invalid, Missing, NotReadable
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.stages.prepare.repetition import repeated_share
from feilun.stages.prepare.step import Step

_SYMBOL = r"[^\p{L}\p{M}\p{N}\p{P}\s]"
_ALPHABET = r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]"
"""Characters of words that are written with spaces between them."""
_LIMIT = 16 * 2**20


class StopListMissing(Missing):
    """The file of the stop-list is not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("The stop-list {path} is not there.").format(path=path),
            remedy=_("Write it, one word a line, or mend stop_file in [[prepare.steps]]."),
        )


class StopListUnreadable(Invalid):
    """The file of the stop-list is not text in UTF-8, or too large."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("The stop-list {path} is not text in UTF-8, or has more than {limit} MB.").format(
                path=path, limit=_LIMIT // 2**20
            ),
            remedy=_("Save it as UTF-8, one word a line."),
        )


class Filter(Step):
    """Drops records by the form of their text: `too_short`, `too_long`, `repetitive`,
    `symbols`, `stop_listed`; of several reasons the first in this order. A record without text
    passes.

    Only the lengths are on by default. `repetition` is the share of characters in runs of ten
    that stood before in the same text (`repeated_share`); .3 drops what says the same over and
    over. `symbols` is the share of characters that are neither letters, digits, marks,
    punctuation nor white space: emoji, box drawing, mathematical and currency signs. Words of
    the stop-list count in any case; in Chinese anywhere, of an alphabet as whole words only.
    """

    use: ClassVar[str] = "filter"

    shorter_than: int = Field(1, ge=0, description="characters; a text with fewer is dropped")
    longer_than: int = Field(100_000, ge=1, description="characters; a text with more is dropped")
    repetition: float | None = Field(
        None, gt=0, lt=1, description="a text of which a larger share repeats itself is dropped"
    )
    symbols: float | None = Field(
        None, ge=0, lt=1, description="a text of which a larger share is symbols is dropped"
    )
    stop_list: tuple[str, ...] = Field((), description="a text with one of these words is dropped")
    stop_file: str | None = Field(
        None, description="more such words: a file in UTF-8, one a line, `#` before remarks"
    )

    @model_validator(mode="after")
    def _something_passes(self) -> Self:
        if self.longer_than < self.shorter_than:
            raise ValueError(
                _("longer_than ({longer}) is below shorter_than ({shorter})").format(
                    longer=self.longer_than, shorter=self.shorter_than
                )
            )
        return self

    def begin(self, run: Run) -> None:
        """Raises `StopListMissing` or `StopListUnreadable` before the first record is read."""
        self._words(run.root)

    def reads(self, root: Path) -> tuple[Path, ...]:
        return (root / self.stop_file,) if self.stop_file is not None else ()

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        frame = self._dropped(frame, run, "too_short", _length(frame) < self.shorter_than)
        frame = self._dropped(frame, run, "too_long", _length(frame) > self.longer_than)
        if self.repetition is not None:
            share = repeated_share(frame["text"])
            frame = self._dropped(frame, run, "repetitive", share > self.repetition)
        if self.symbols is not None:
            count = frame["text"].str.count_matches(_SYMBOL)
            frame = self._dropped(frame, run, "symbols", count > self.symbols * _length(frame))
        words = self._words(run.root)
        if words:
            frame = self._dropped(frame, run, "stop_listed", with_word(frame["text"], words))
        return frame

    def _dropped(self, frame: pl.DataFrame, run: Run, reason: str, rows: pl.Series) -> pl.DataFrame:
        rows = rows.fill_null(False)
        if not rows.any():
            return frame
        run.drop(frame.filter(rows), self.use, reason)
        return frame.filter(~rows)

    def _words(self, root: Path) -> list[str]:
        words = [word.strip().lower() for word in self.stop_list]
        if self.stop_file is not None:
            path = root / self.stop_file
            try:
                lines = _content(path).decode("utf-8-sig").splitlines()
            except UnicodeDecodeError:
                raise StopListUnreadable(path) from None
            words += [line.partition("#")[0].strip().lower() for line in lines]
        return sorted({word for word in words if word})


def with_word(texts: pl.Series, words: list[str]) -> pl.Series:
    """For each text whether one of `words` (lower case) is in it, in any case (Boolean): where
    an end of the word is a letter or digit of an alphabet, no such may stand next to it."""
    if any(word.upper() != word for word in words if not word.isascii()):
        texts = texts.str.to_lowercase()
    found = texts.str.contains_any(words, ascii_case_insensitive=True).fill_null(False)
    bounded = {word: _bounded(word) for word in words if _has_boundary(word)}
    rows = found.arg_true()
    if not bounded or not len(rows):
        return found
    lower = texts.gather(rows).str.to_lowercase()
    matches = lower.str.extract_many(words, overlapping=True)
    checked = [
        any(word not in bounded or bounded[word].search(text) for word in sorted(set(inside)))
        for text, inside in zip(lower, matches, strict=True)
    ]
    return found.scatter(rows, pl.Series(checked, dtype=pl.Boolean))


def _has_boundary(word: str) -> bool:
    return bool(re.match(_ALPHABET, word[0]) or re.match(_ALPHABET, word[-1]))


def _bounded(word: str) -> re.Pattern[str]:
    before = rf"(?<!{_ALPHABET})" if re.match(_ALPHABET, word[0]) else ""
    after = rf"(?!{_ALPHABET})" if re.match(_ALPHABET, word[-1]) else ""
    return re.compile(before + re.escape(word) + after)


def _length(frame: pl.DataFrame) -> pl.Series:
    return frame["text"].str.len_chars()


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LIMIT:
            raise StopListUnreadable(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise StopListMissing(path) from None
    except OSError:
        raise NotReadable(path) from None
