"""English names of persons: after titles and cues, before verbs of speech.

A capital letter says little: New York has two. So words like those of `_NOT_ENGLISH` end a name,
and nothing is taken that no cue announces. In Chinese texts too: 客户 John Smith.
"""

# ruff: noqa: E501, SIM905  (patterns read better in long lines)
from __future__ import annotations

import re
from collections.abc import Iterator

from feilun.stages.prepare.mask.surnames import STRONG

_CUES = "|".join(sorted(STRONG, key=lambda cue: (-len(cue), cue)))
_ENGLISH = (
    r"[A-Z][a-z'’]{1,20}(?: [A-Z]\.)?(?: (?:[A-Z]['’]|Mc|Mac)?[A-Z][a-z]{1,20}(?:-[A-Z][A-Za-z]{1,20})?){1,2}"
    r"(?![A-Za-z])"
)
_MIXED = re.compile(
    rf"(?:{_CUES}|客户|用户|员工|会员|旅客|同事|联系)(?:是|为)?[:： ]{{0,2}}(?P<value>{_ENGLISH})"
)
_TITLED = re.compile(
    r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Professor|Sir|Madam|Captain|Judge|Senator)\b\.? "
    r"(?P<value>[A-Z][A-Za-z'’\-]{1,20}(?: (?:[A-Z]\. )?[A-Z][A-Za-z'’\-]{1,20}){0,2})"
)
_CUE_WORDS = frozenset(
    "name names i'm contact attn attention dear hi hello regards sincerely cheers thanks signed customer client patient"
    " passenger guest cardholder recipient employee applicant tenant driver beneficiary holder for from by to with told"
    " call ask met spoke colleague manager engineer agent owner student wife husband friend son daughter".split()
)
_CUE_PAIRS = {"is": ("name ", "this "), "am": ("i ",)}
_BEFORE = re.compile(r"(?<![A-Za-z'])[A-Za-z']{1,14}(?= ?[:,]? ?[A-Z][a-z]) ?[:,]? ?")
_VALUE = re.compile(_ENGLISH)
_SPOKE = re.compile(
    r"(?<![A-Za-z.])(?P<value>[A-Z][a-z]{1,20}(?: [A-Z]\.)? (?:[A-Z]['’]|Mc|Mac)?[A-Z][a-z]{1,20}(?:-[A-Z][a-z]{1,20})?)"
    r" (?:said|says|called|wrote|asked|told|signed|complained|ordered|reported|confirmed|paid|lives|works|booked)\b"
)
_NOT_ENGLISH = re.compile(
    r"\b(?:Customer|Support|Service|Team|Sir|Madam|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|January"
    r"|February|March|April|June|July|August|September|October|November|December|New|Old|The|This|That|Our|Your"
    r"|Street|St|Road|Avenue|Ave|Park|University|College|School|Hospital|Hotel|Bank|Company|Inc|Ltd|Corp|City|State"
    r"|Lake|Mount|River|North|South|East|West|United|Great|All|Every|Happy|Good|Best|Kind|Warm|Office|Center|Centre"
    r"|Airport|Station|Store|Shop|Market|Windows|Google|Microsoft|Amazon|Apple|Order|Account|Number|Phone|Card|Email"
    r"|Address|Manager|Department|English|Chinese|American|British|French|German|Los|San|Hong|Las|Black|Christmas"
    r"|Easter|Valentine|Version|Premium|Gold|Silver|Pro|Plus|Air|Prime|Express|Desk|Sales|Human|Data|Machine|Deep|No|Passport|Number|Thanks"
    r"|Thank|Please|Regards|Dear|Hello|Hi|Contact|Call|Ship)\b"
)
_ENGLISH_CUES = (
    r"(?i:mrs?|ms|miss|dr|prof|professor|madam|captain|judge|name|names|name is|i am|i'm|this is|contact|attn|attention|dear|hi"
    r"|hello|regards|sincerely|cheers|thanks|signed|customer|client|patient|passenger|guest|cardholder|recipient|employee"
    r"|applicant|tenant|driver|beneficiary|holder|for|from|by|to|with|told|call|ask|met|spoke|colleague|manager|engineer"
    r"|agent|owner|student|wife|husband|friend|son|daughter|sir|senator)[.:, ]{1,3}[A-Z][a-z]"
    r"|[A-Z][a-z]+ (?:said|says|called|wrote|asked|told|signed|complained|ordered|reported|confirmed|paid|lives|works|booked)"
)
# No \b here: the Unicode one sends Rust's regex to its slowest engine (60 times slower).
ENGLISH_HINT = rf"(?:{_CUES}|客户|用户|员工|会员|旅客|同事|联系)(?:是|为)?[:： ]{{0,2}}[A-Z][a-z]|{_ENGLISH_CUES}"
"""What a text has that has an English name."""


def english_names(text: str) -> Iterator[tuple[int, int]]:
    """The spans of English names in `text`."""
    for pattern in (_TITLED, _SPOKE, _MIXED):
        for match in pattern.finditer(text):
            yield from _trimmed(text, *match.span("value"), alone=pattern is _TITLED)
    for match in _BEFORE.finditer(text):
        if _announces(text, match):
            value = _VALUE.match(text, match.end())
            if value:
                yield from _trimmed(text, *value.span(), alone=False)


def _announces(text: str, match: re.Match[str]) -> bool:
    word = match[0].rstrip(" :,").casefold()
    pairs = _CUE_PAIRS.get(word)
    if pairs is None:
        return word in _CUE_WORDS
    return text[max(0, match.start() - 5) : match.start()].casefold().endswith(pairs)


def _trimmed(text: str, start: int, end: int, *, alone: bool) -> Iterator[tuple[int, int]]:
    """The span up to a word that no name has; a single word only when it may stand `alone`."""
    other = _NOT_ENGLISH.search(text, start, end)
    if other:
        # «Regards, Ann Lee Thanks»: what stands before the other word may be a name.
        end = start + len(text[start : other.start()].rstrip())
    if " " in text[start:end] or (end > start and alone):
        yield start, end
