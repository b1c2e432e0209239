"""The language of each text."""

from __future__ import annotations

import numpy as np
import polars as pl

from feilun.stages.prepare.language.ngrams import LANGUAGES, told_apart
from feilun.stages.prepare.language.scripts import SCRIPTS, letters

NONE = "none"
"""What stands for the language of a text without letters."""
ONLY = {
    "kana": "ja", "hangul": "ko", "thai": "th", "hebrew": "he", "greek": "el", "armenian": "hy",
    "georgian": "ka", "bengali": "bn", "gujarati": "gu", "gurmukhi": "pa", "tamil": "ta",
    "telugu": "te", "kannada": "kn", "malayalam": "ml", "sinhala": "si", "khmer": "km",
    "lao": "lo", "myanmar": "my", "amharic": "am", "other": "other",
}  # fmt: skip
"""The one language of a script, or by far the greatest."""
_WEIGHTS = {"han": 5.0, "traditional": 5.0, "simplified": 5.0, "hangul": 4.0, "kana": 4.0}
"""How many letters of an alphabet weigh as much as one character: it says as much as three, and
foreign names stand in Chinese texts in Latin letters, hardly ever the other way round."""
_KANA = 0.1
"""From this share of its Chinese characters and kana on, a text with kana is Japanese: in a
Chinese one stands a の or two."""
_HALF = 1.0
"""This many characters of a script are as much reason to believe as to doubt."""


def languages(texts: pl.Series) -> pl.DataFrame:
    """The `language` of each text and the `confidence` in it, 0 to 1.

    `language`: the two letters of ISO 639-1; `zh` is Chinese unless it has more characters that
    only the traditional script has than only the simplified one has: `zh-Hant`; `none` has no
    letters, `other` is of a script not known here; null for null. Most texts are told by their
    script; Latin, Cyrillic, Arabic and Devanagari letters by n-grams (`ngrams.LANGUAGES`).

    The confidence is the share of the letters that are of the language's script, times how sure
    the script (n letters: n / (n + 1)) or the n-grams are. One word is never sure.
    """
    counts = letters(texts).astype(np.float64)
    column = {name: counts[:, at] for at, name in enumerate(SCRIPTS)}
    han = column["han"] + column["traditional"] + column["simplified"]
    japanese = (column["kana"] > 0) & (column["kana"] >= _KANA * (column["kana"] + han))
    said = {name: column[name] * _WEIGHTS.get(name, 1.0) for name in SCRIPTS[1:]}
    for name in ("traditional", "simplified"):
        said["han"] = said["han"] + said.pop(name)
    said["kana"] = np.where(japanese, said["kana"] + said["han"], said["kana"])
    said["han"] = np.where(japanese, 0.0, said["han"])
    names = list(said)
    table = np.stack([said[name] for name in names], axis=1)
    total = table.sum(axis=1)
    script = table.argmax(axis=1)
    share = np.divide(table.max(axis=1), total, out=np.zeros(len(texts)), where=total > 0)
    found = np.array([ONLY.get(name, "zh") for name in names], dtype=object)[script]
    hant = (column["traditional"] > column["simplified"]) & (script == names.index("han"))
    found[hant] = "zh-Hant"
    found[total == 0] = NONE
    number = np.where(japanese, han + column["kana"], 0.0)
    for name in ONLY | {"han": ""}:
        own = han if name == "han" else column[name]
        number = np.where((script == names.index(name)) & ~japanese, own, number)
    sure = share * number / (number + _HALF)
    for name in LANGUAGES:
        rows = np.flatnonzero((script == names.index(name)) & (total > 0))
        if len(rows):
            told, chance = told_apart(texts.gather(rows), name)
            found[rows], sure[rows] = told, share[rows] * chance
    frame = pl.DataFrame(
        {"language": pl.Series(found.tolist(), dtype=pl.String), "confidence": sure}
    )
    return frame.with_columns(
        pl.when(texts.is_not_null()).then(pl.col(name)).alias(name) for name in frame.columns
    )
