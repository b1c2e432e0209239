"""The methods that need no server: each gives the edits that make a new text of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise

from feilun.stages.prepare.augment import lexicon
from feilun.stages.prepare.augment.edits import UNIT, WORD, Edit, Lots, Span, fixed, is_chinese

MOST_EDITS = 200
SHORTEST_TYPO = 4
"""Letters of a word in which one is mistyped."""
CHARACTERS_PER_WORD = 2
"""Of Chinese, on the average."""
LEAST_UNITS = 4
"""Characters (Chinese) or words below which nothing is deleted."""

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_OFFSETS = (0.0, 0.25, 0.75)
"""How far each row of a keyboard is to the right of the first, in keys."""


class Page:
    """One text as the methods see it: what of it may change, and the lots drawn for it."""

    def __init__(self, text: str, spans: Sequence[Span], lots: Lots, strength: float) -> None:
        self.text = text
        self.lots = lots
        self.strength = strength
        self.chinese = is_chinese(text)
        self._fixed = fixed(text, spans)

    def free(self, start: int, end: int) -> bool:
        """Whether nothing from `start` to `end` must stay as it is."""
        return self._fixed.find(1, start, end) < 0

    def units(self) -> list[tuple[int, int]]:
        """Where its characters (Chinese) or words stand that may change."""
        pattern = UNIT if self.chinese else WORD
        fixed_at = self._fixed.find
        found = [match.span() for match in pattern.finditer(self.text)]
        return [(start, end) for start, end in found if fixed_at(1, start, end) < 0]

    def drawn(self, edits: Iterable[Edit], among: int) -> list[Edit]:
        """Of the possible edits, which come in an order drawn by lot, as many as `strength`
        asks for among so many units, one at least; none that overlaps or touches another."""
        wanted = min(max(1, round(self.strength * among)), MOST_EDITS)
        taken: list[Edit] = []
        for edit in edits:
            if all(edit.end < other.start or other.end < edit.start for other in taken):
                taken.append(edit)
            if len(taken) == wanted:
                break
        return taken


def synonyms(page: Page, known: lexicon.Synonyms) -> list[Edit]:
    """Words of the same meaning: from the owner's file, from Cilin, or from the English list."""
    if page.chinese:
        choices, words = known.chinese, known.finder.words(page.text)
        among = len(page.text) // CHARACTERS_PER_WORD
    else:
        choices, words = known.english, [match.span() for match in WORD.finditer(page.text)]
        among = len(words)
    return page.drawn(_substitutes(page, words, choices), among)


def _substitutes(
    page: Page, units: Sequence[tuple[int, int]], choices: lexicon.Choices
) -> Iterator[Edit]:
    """Each unit that has others like it as one of those; in an order drawn by lot."""
    text = page.text
    for start, end in page.lots.order(units):
        word = text[start:end]
        others = choices.get(word) or choices.get(word.lower())
        if others and page.free(start, end):
            if not page.chinese:
                others = tuple(o for o in others if _article_fits(text[:start], word, o))
            if others:
                other = others[page.lots.below(len(others))]
                yield Edit(start, end, _in_case_of(word, other))


def homophones(page: Page, known: lexicon.Synonyms) -> list[Edit]:
    """Characters of the same syllable; English words that sound alike."""
    return _exchanged(page, lexicon.homophones if page.chinese else lexicon.english_homophones)


def shapes(page: Page, known: lexicon.Synonyms) -> list[Edit]:
    """Characters that look alike; in English a letter beside the right one on the keyboard."""
    if page.chinese:
        return _exchanged(page, lexicon.shapes)
    units = page.units()
    return page.drawn(_slips(page, units), len(units))


def _exchanged(page: Page, choices: Callable[[], lexicon.Choices]) -> list[Edit]:
    units = page.units()
    return page.drawn(_substitutes(page, units, choices()), len(units))


def _slips(page: Page, units: Sequence[tuple[int, int]]) -> Iterator[Edit]:
    for start, end in page.lots.order(units):
        at = start + 1 + page.lots.below(end - start - 1)
        near = _keys().get(page.text[at].lower()) if end - start >= SHORTEST_TYPO else None
        if near:
            key = near[page.lots.below(len(near))]
            yield Edit(at, at + 1, key.upper() if page.text[at].isupper() else key)


def delete(page: Page, known: lexicon.Synonyms) -> list[Edit]:
    """Some characters (Chinese) or words are left out."""
    units = page.units()
    if len(units) < LEAST_UNITS:
        return []
    places = units if page.chinese else [_with_space(page.text, *place) for place in units]
    return page.drawn((Edit(*place, "") for place in page.lots.order(places)), len(units))


def _with_space(text: str, start: int, end: int) -> tuple[int, int]:
    """A word and the space after it, or the one before it, so that none is left double."""
    if text[end : end + 1] == " ":
        return start, end + 1
    return (start - 1, end) if text[start - 1 : start] == " " else (start, end)


def swap(page: Page, known: lexicon.Synonyms) -> list[Edit]:
    """Some neighbouring characters (Chinese) or words change places."""
    units = page.units()
    return page.drawn(_exchanges(page, list(pairwise(units))), len(units))


def _exchanges(
    page: Page, pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]]
) -> Iterator[Edit]:
    text = page.text
    for (start, middle), (after, end) in page.lots.order(pairs):
        between = text[middle:after]
        first, second = text[start:middle], text[after:end]
        if between in ("", " ") and first != second:
            yield Edit(start, end, second + between + first)


def _in_case_of(word: str, other: str) -> str:
    """`other` with capitals where `word` has them: Good → Excellent, GOOD → EXCELLENT."""
    if len(word) > 1 and word.isupper():
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


_ARTICLE = re.compile(r"\b[Aa]n?\s+\Z")


def _article_fits(before: str, word: str, other: str) -> bool:
    """Whether an «a» or «an» before the word would still be right."""
    vowels = (word[:1].lower() in "aeiou", other[:1].lower() in "aeiou")
    return vowels[0] == vowels[1] or not _ARTICLE.search(before[-8:])


@cache
def _keys() -> dict[str, str]:
    """For each letter those beside it on a QWERTY keyboard."""
    places = {
        key: (x + offset, y)
        for y, (row, offset) in enumerate(zip(_ROWS, _OFFSETS, strict=True))
        for x, key in enumerate(row)
    }
    return {
        key: "".join(
            other
            for other, (u, v) in places.items()
            if other != key and abs(u - x) <= 1 and abs(v - y) <= 1
        )
        for key, (x, y) in places.items()
    }


METHODS: dict[str, Callable[[Page, lexicon.Synonyms], list[Edit]]] = {
    "synonyms": synonyms,
    "homophones": homophones,
    "shapes": shapes,
    "delete": delete,
    "swap": swap,
}
