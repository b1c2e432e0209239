"""Texts as the kernels read them: one normalised UTF-8 string, a line for each."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

LONG = 1024
"""Characters after which a text is normalised piece by piece: CPython sorts a run of combining
marks by insertion, so one text of 40,000 marks would take a second and one of 1 MB, an hour."""

# The characters of everyday Chinese that NFKC changes. Replacing them first costs a scan each,
# and then nine lines in ten need no normalisation: 3 times faster than NFKC on all of them.
_EVERYDAY = {
    "，": ",", "！": "!", "？": "?", "：": ":", "；": ";", "（": "(", "）": ")", "…": "...",
    "～": "~", "\u3000": " ", "\u00a0": " ", "％": "%",
}  # fmt: skip


def lines(texts: Sequence[str]) -> bytes:
    """The texts in Unicode form NFKC, case folded, a line break between each two, as UTF-8.

    A line break within a text becomes a space. Any string will do; a lone surrogate is kept
    (as three bytes, `surrogatepass`).
    """
    text = "\n".join(texts)
    if text.count("\n") >= max(len(texts), 1):
        text = "\n".join([text.replace("\n", " ") for text in texts])
    if not text.isascii():
        for mark, plain in _EVERYDAY.items():
            text = text.replace(mark, plain)
        if not unicodedata.is_normalized("NFKC", text):
            text = "\n".join([_normalised(line) for line in text.split("\n")])
    return text.casefold().encode("utf-8", "surrogatepass")


def _normalised(text: str) -> str:
    if len(text) <= LONG:
        return unicodedata.normalize("NFKC", text)
    pieces = [text[i : i + LONG] for i in range(0, len(text), LONG)]
    return "".join([unicodedata.normalize("NFKC", piece) for piece in pieces])
