"""The weakest slices: the parts of the traffic in which answers are wrong, or unsure, too often."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from feilun.stages.monitor.chance import discoveries, more_often
from feilun.stages.monitor.label_shares import wilson

BANDS = (10, 20, 50, 100, 200, 500)
"""The last length, in characters, of each band; what is longer is one more."""
_FEWEST = 3
"""Wrong answers that a slice must have."""
_Z = 1.96
_LONGEST_TEXT = 2000
_HAN = r"\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_HAN}]+|[^\W\d_{_HAN}]{{2,}}")
_GRAMS = (2, 3, 4)


class Row(NamedTuple):
    """One answer: the labels in it, who asked (`key`), the text's length, language and terms
    (`None`: the text cannot be read), how sure it was; for one that was judged also who said so
    (`source`) and whether it was wrong."""

    id: str
    labels: Sequence[str]
    key: str
    characters: int
    score: float
    language: str | None = None
    terms: frozenset[str] = frozenset()
    source: str = ""
    wrong: bool = False


class Slice(NamedTuple):
    """A part of the answers in which more are wrong than in the rest: those whose `kind` (`label`,
    `key`, `source`, `length`, `language`, `term`) is `value`.

    `cases` of `answers` (estimated from the sample where not all were looked at) are wrong, the
    share `share` (Wilson interval `low` to `high`, 95 %), and `elsewhere` of the rest; `chance` is
    the p-value of Fisher's exact test. `examples` are ids, the newest first.
    """

    kind: str
    value: str
    cases: int
    answers: int
    share: float
    low: float
    high: float
    elsewhere: float
    chance: float
    examples: tuple[str, ...]


def weakest(
    cases: Sequence[Row], others: Sequence[Row], total: int, *, most: int, false_share: float
) -> list[Slice]:
    """The slices that `cases` are in more often than `others` (answers drawn at random from those
    that are no cases), of `total` answers in all: at most `most`, those first in which most cases
    are beyond what the rest would have. At most the share `false_share` of what is found is
    chance, in expectation."""
    if not cases or not others:
        return []
    here, there = _members(cases), _members(others)
    # Each of the others stands for so many answers.
    weight = max(total - len(cases), len(others)) / len(others)
    found = []
    for name, members in here.items():
        if len(members) < _FEWEST:
            continue
        count = len(there.get(name, ()))
        chance = more_often(len(members), len(cases), count, len(others))
        found.append((name, members, count, chance))
    stands_out = discoveries([one[3] for one in found], false_share)
    chosen = [one for one, stands in zip(found, stands_out, strict=True) if stands]
    slices = [
        (
            len(members) - len(cases) * count / len(others),
            _slice(name, members, round(count * weight), (len(cases), total), chance),
        )
        for name, members, count, chance in chosen
    ]
    slices.sort(key=lambda pair: (-pair[0], pair[1].kind, pair[1].value))
    return _without_parts([one for _excess, one in slices])[:most]


def terms(text: str) -> frozenset[str]:
    """Words of letters, lower case, and of Chinese, which has no spaces, every two to four
    characters that follow each other."""
    found: set[str] = set()
    for word in _WORD.findall(text[:_LONGEST_TEXT].lower()):
        if re.match(f"[{_HAN}]", word):
            found.update(word[at : at + n] for n in _GRAMS for at in range(len(word) - n + 1))
        else:
            found.add(word)
    return frozenset(found)


def band(characters: int) -> str:
    """The name of the band of lengths: `11–20`."""
    first = 0
    for last in BANDS:
        if characters <= last:
            return f"{first}–{last}"
        first = last + 1
    return f"{first}+"


def _members(rows: Iterable[Row]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name in _names(row):
            found.setdefault(name, []).append(row.id)
    return found


def _names(row: Row) -> Iterable[tuple[str, str]]:
    yield from (("label", label) for label in row.labels)
    yield "key", row.key
    if row.characters:
        yield "length", band(row.characters)
    if row.language is not None:
        yield "language", row.language
    yield from (("term", term) for term in row.terms)


def _slice(
    name: tuple[str, str],
    members: list[str],
    others: int,
    whole: tuple[int, int],
    chance: float,
) -> Slice:
    cases, total = whole
    answers = len(members) + others
    low, high = wilson(len(members), answers, _Z)
    rest = max(total - answers, 1)
    return Slice(
        *name,
        len(members),
        answers,
        len(members) / answers,
        low,
        high,
        (cases - len(members)) / rest,
        chance,
        tuple(members[:3]),
    )


def _without_parts(slices: list[Slice]) -> list[Slice]:
    """Of terms within each other, the longest of those that are in the same cases, or nearly."""
    words = [one for one in slices if one.kind == "term"]
    return [
        one
        for one in slices
        if one.kind != "term"
        or not any(
            one.value != other.value
            and (
                (one.value in other.value and other.cases >= 0.8 * one.cases)
                or (other.value in one.value and one.cases < 0.8 * other.cases)
            )
            for other in words
        )
    ]


def by_source(rows: Sequence[Row], *, most: int, false_share: float) -> list[Slice]:
    """As `weakest`, for who judged: of the judgements of one source more say «wrong» than of the
    others'. `answers` are judgements here."""
    wrong, right = Counter[str](), Counter[str]()
    examples: dict[str, list[str]] = {}
    for row in rows:
        (wrong if row.wrong else right)[row.source] += 1
        if row.wrong:
            examples.setdefault(row.source, []).append(row.id)
    cases, others = wrong.total(), right.total()
    names = [name for name in wrong if wrong[name] >= _FEWEST]
    chances = [more_often(wrong[name], cases, right[name], others) for name in names]
    made = [
        _slice(("source", name), examples[name], right[name], (cases, cases + others), chance)
        for name, chance, stands in zip(
            names, chances, discoveries(chances, false_share), strict=True
        )
        if stands
    ]
    return sorted(made, key=lambda one: (one.chance, one.value))[:most]
