"""Small changes of a text, what they must not touch, and where spans are after them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeVar

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
NEGATIONS = frozenset("不没沒无無非别別未莫勿毋甭否休")
WORD = re.compile(r"[A-Za-zÀ-ɏ]+(?:['’-][A-Za-zÀ-ɏ]+)*")
UNIT = re.compile(f"[{HAN}]|{WORD.pattern}")
_HAN = re.compile(f"[{HAN}]")

_ENGLISH = (
    "not|no|never|none|nobody|nothing|nowhere|neither|nor|without|hardly|barely|scarcely|seldom"
    "|rarely|cannot|[a-z]+n['’]t|(?:do|does|did|ca|wo|is|was|are|were|could|should|would|have|has"
    "|had|ai)nt"
)
_BETWEEN = "有是能会要太很想够怎该可应曾再"
"""What stands between a negation and the two characters it is about («没有亮点»)."""
PROTECTED = re.compile(
    # Placeholders and tags; addresses; mentions; numbers; negations with what they negate.
    r"\[[A-Z][A-Z0-9_]*\]|<[^<>\s]{1,64}>"
    r"|(?:https?://|www\.)[^\s\u3000-\u9fff]+|[\w.+-]{1,64}@[\w.-]+|[@#]\w+"
    rf"|\d[\d.,:/%\-]*(?:[A-Za-z]+|[{HAN}])?|[〇零一二两三四五六七八九十百千万亿]+"
    f"|[{''.join(sorted(NEGATIONS))}]+[{_BETWEEN}]?[{HAN}]{{0,2}}"
    rf"|\b(?i:{_ENGLISH})\b(?:\s+[A-Za-z'’-]+)?"
)
FACTS = re.compile(r"\[[A-Z][A-Z0-9_]*\]|\d+")
"""What a text written anew must still have: placeholders and numbers."""

Span = tuple[int, int, str]
Item = TypeVar("Item")


class Edit(NamedTuple):
    """The characters from `start` to `end` (exclusive) become `new`."""

    start: int
    end: int
    new: str


class Lots:
    """Numbers drawn for one purpose, the same wherever and in whatever order they are drawn."""

    def __init__(self, *purpose: object) -> None:
        named = "\0".join(map(str, purpose)).encode("utf-8", "surrogatepass")
        seed = int.from_bytes(blake2b(named, digest_size=16).digest(), "little")
        # Of all its methods only `random` is promised to stay the same between versions.
        self.share = random.Random(seed).random  # noqa: S311  # no secret

    def below(self, number: int) -> int:
        """A whole number from 0 to `number` - 1."""
        return int(self.share() * number)

    def order(self, items: Sequence[Item]) -> Iterator[Item]:
        """The items in an order drawn by lot, as far as they are asked for."""
        left = list(items)
        for at in range(len(left)):
            other = at + int(self.share() * (len(left) - at))
            left[at], left[other] = left[other], left[at]
            yield left[at]


def is_chinese(text: str) -> bool:
    """Whether it has Han characters, and no fewer of them than words of Latin letters."""
    num_han = len(_HAN.findall(text))
    return num_han > 0 and num_han >= len(WORD.findall(text))


def tiled(text: str, spans: Sequence[Span]) -> bool:
    """Whether the spans are the parts that the text consists of (the turns of a chat), not
    entities in it: only white space lies between them."""
    at = 0
    for start, end, _label in sorted(spans):
        if text[at:start].strip():
            return False
        at = max(at, end)
    return bool(spans) and not text[at:].strip()


def fixed(text: str, spans: Sequence[Span]) -> bytearray:
    """For each character 1 if it must stay as it is: placeholders, numbers, addresses,
    negations and the two characters or the word after them (what they negate), entities."""
    mask = bytearray(len(text))
    for found in PROTECTED.finditer(text):
        mask[found.start() : found.end()] = b"\1" * (found.end() - found.start())
    if spans and not tiled(text, spans):
        for start, end, _label in spans:
            mask[start:end] = b"\1" * len(mask[start:end])
    return mask


def applied(
    text: str, spans: Sequence[Span], edits: Sequence[Edit]
) -> tuple[str, tuple[Span, ...]] | None:
    """The text after edits (none overlapping another), and its spans; None where an edit would
    cut through the border of a span."""
    edits = sorted(edits)
    borders = {border for start, end, _label in spans for border in (start, end)}
    if any(edit.start < border < edit.end for border in borders for edit in edits):
        return None
    pieces, at = [], 0
    for edit in edits:
        pieces += [text[at : edit.start], edit.new]
        at = edit.end
    moved = {
        border: border + sum(len(e.new) - (e.end - e.start) for e in edits if e.end <= border)
        for border in borders
    }
    kept = tuple((moved[s], moved[e], label) for s, e, label in spans if moved[e] > moved[s])
    return "".join([*pieces, text[at:]]), kept
