"""The step `language`."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field

from feilun.core.run import Run
from feilun.stages.prepare.language.detect import NONE, languages
from feilun.stages.prepare.step import Step


class Language(Step):
    """Counts the records of each language and, with `keep`, drops the others as
    `other_language`, and those whose language is not sure enough as `unsure_language`.

    Languages are told by `feilun.stages.prepare.language.detect`: by script, and by n-grams
    where several languages share one. `keep = ["zh"]` keeps traditional Chinese, too;
    `zh-Hant` that alone, `zh-Hans` all other Chinese. A record without a letter is of no
    language and passes, as does one without text. Counts are told as `language.zh`.
    """

    use: ClassVar[str] = "language"

    keep: tuple[str, ...] = Field(
        (), description="the languages that stay, such as zh and en; empty: all, only counted"
    )
    confidence: float = Field(
        0.5, ge=0, le=1, description="with `keep`, how sure a text's language must be"
    )

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        found = languages(frame["text"])
        for name, count in _counted(found).items():
            run.spend(count, f"language.{name}")
        if not self.keep:
            return frame
        language = found["language"]
        passes = language.is_null() | (language == NONE)
        unsure = ~passes & (found["confidence"] < self.confidence)
        other = ~passes & ~unsure & ~_among(language, self.keep)
        run.drop(frame.filter(other), self.use, "other_language")
        run.drop(frame.filter(unsure), self.use, "unsure_language")
        return frame.filter(~(other | unsure))


def language_shares(frame: pl.DataFrame) -> dict[str, int]:
    """How many records of `frame` (its column `text`) are of each language, the most common
    first; `none` have no letters, and those without text are not counted."""
    return _counted(languages(frame["text"]))


def _counted(found: pl.DataFrame) -> dict[str, int]:
    counts = found["language"].drop_nulls().value_counts()
    return dict(counts.sort("count", "language", descending=[True, False]).rows())


def _among(language: pl.Series, keep: tuple[str, ...]) -> pl.Series:
    wanted = {"zh" if name == "zh-Hans" else name for name in keep}
    if "zh" in keep:
        wanted.add("zh-Hant")
    return language.is_in(sorted(wanted))
