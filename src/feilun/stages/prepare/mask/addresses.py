"""Postal addresses: a road or an estate with its number, and all that belongs to it on both sides.

Chinese: from the number to the left up to the first province, city or county (GB/T 2260, the
table that python-stdnum carries) that leads to it without a break; to the right through building,
unit, floor and room. English: number, name, kind of street; then flat, town, state, post code.
"""

# ruff: noqa: E501  (lists and patterns read better in long lines)
from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

_PLACE = (
    "大街|大道|街道|新村|家园|小区|花园|公寓|大厦|广场|胡同|中心|公馆|国际|路|街|巷|弄|道|村|里|苑|园|府|城|庭"
    "|湾|郡|邸|居|轩|组|镇|段"
)
_NUMBER = (
    r"[0-9一二三四五六七八九十百甲乙]{1,6}(?:[\-—–][0-9]{1,4})?(?:号(?:院|楼)?|弄|栋|幢|座|单元|\#)"
)
_NOT_A_HOUSE = r"(?!线|公交|地铁|出口|车|机|文件|公告|选手|球|台|窗|馆|展|坑|病|会议|工作)"
_ANCHOR = re.compile(rf"(?:{_PLACE})[ ]?{_NUMBER}{_NOT_A_HOUSE}")
_ESTATE = re.compile(r"(?<=[一-龥])[0-9]{1,3}(?:栋|幢|座|号楼)")
"""Counts only behind a region: estates are called anything."""
_TAIL = re.compile(
    r"(?:[ ,]?[A-Za-z0-9一二三四五六七八九十百甲乙]{1,5}(?:[\-—–][A-Za-z0-9]{1,5}){0,2}"
    r"(?:号楼|号院|号|弄|栋|幢|座|单元|楼|层|室|房|户|门|#)"
    r"|[一-龥]{2,8}?(?:小区|花园|公寓|大厦|广场|家园|新村|中心|公馆|苑|园|府|城|庭|湾|大楼|国际)"
    r"(?=[ ]?[A-Za-z0-9一二三四五六七八九十]{1,5}(?:号|栋|幢|座|单元|楼|层|室|房))"
    r"|(?<=号)[一-龥]{2,8}?(?:小区|花园|公寓|大厦|家园|新村|公馆|苑|大楼)"
    r"|(?<=号)[一-龥]{2,8}?(?=[0-9]{1,3}(?:栋|幢|座|号楼|单元))"
    r"|(?<=[单元栋幢座楼号])[ \-]?[0-9]{3,4}(?![0-9A-Za-z年月日元块分个件人]))"
)
_STOP = re.compile(
    r"地址|住址|位于|住在|住|寄到|寄往|寄至|送到|送至|搬到|来到|发到|发往|快递到|派送|前往|家在|改成|改为|就是"
    r"|[在到于是为址寄送往给去的和与从把请有个条]"
)
_STRONG = re.compile(r"[在到于是寄送给去的住请]")
_LEFT = re.compile(r"[一-龥0-9 ]{0,44}\Z")
_LEVEL = re.compile(r"[一-龥]{2,4}?(?:省|市|区|县|旗|镇|乡|盟|州)")
LONGEST = 11

_STREETS = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Drive|Dr|Lane|Ln|Court|Ct|Way|Place|Pl|Square|Sq"
    "|Terrace|Parkway|Pkwy|Close|Crescent|Circle|Highway|Hwy|Trail|Row|Walk|Gardens|Mews|Grove"
)
_ENGLISH = re.compile(
    r"(?<![0-9A-Za-z$€£.,\-])[1-9][0-9]{0,4}[A-Z]? "
    r"(?:(?:[NSEW]|North|South|East|West|Old|New|St)\.? )?"
    r"(?:(?:[A-Z][A-Za-z']{1,20}(?:-[A-Z][a-z]{1,9})?|[1-9][0-9]{0,2}(?:st|nd|rd|th)) ){1,3}"
    rf"(?:{_STREETS})(?![A-Za-z])\.?(?: (?:N|S|E|W|NE|NW|SE|SW)(?![A-Za-z]))?"
    r"(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room|#)\.? ?\#?[0-9A-Za-z\-]{1,6}(?![0-9A-Za-z]))?"
    r"(?:, [A-Z][A-Za-z]{1,20}(?:[ \-][A-Z][a-z]{1,15}){0,2}(?![a-z]))?"
    r"(?:,? [A-Z]{2}(?![A-Za-z0-9]))?"
    r"(?:,? [A-Z]{1,2}[0-9][0-9A-Z]? [0-9][A-Z]{2}(?![A-Za-z0-9])|,? [0-9]{5}(?:-[0-9]{4})?(?![0-9]))?"
)
ADDRESS_HINT = rf"(?:{_PLACE}) ?[0-9一二三四五六七八九十百甲乙]{{1,6}}[号弄栋幢座单#\-—–]|[一-龥][0-9]{{1,3}}(?:栋|幢|座|号楼)|[0-9][A-Z]? [A-Z0-9][A-Za-z0-9' .\-]{{0,60}}(?:{_STREETS})"


def addresses(text: str) -> Iterator[tuple[int, int]]:
    """The spans of postal addresses in `text`, Chinese ones first."""
    last = 0
    anchors = sorted(
        (match.start(), match.end(), pattern is _ESTATE)
        for pattern in (_ANCHOR, _ESTATE)
        for match in pattern.finditer(text)
    )
    for at, end, bare in anchors:
        if at < last:
            continue
        start = _start(text, max(last, at - 44), at, bare)
        if start is not None:
            last = _end(text, end)
            yield start, last
    for match in _ENGLISH.finditer(text):
        yield match.span()


def _start(text: str, low: int, anchor: int, bare: bool) -> int | None:
    """Where the address begins whose road's last word is at `anchor`; None: it has no name, or,
    when it is `bare`, no region."""
    found = _LEFT.search(text, low, anchor)
    left = found[0] if found else ""
    base = anchor - len(left)
    known = regions()
    for at in range(len(left)):
        end = 0 if left[at] in "0123456789 " else _region(left, at, known)
        if end and not _STRONG.search(left, end):
            return base + at
    if bare:
        return None
    # No region: the road alone, or a village we have no table for.
    begin = max((stop.end() for stop in _STOP.finditer(left)), default=0)
    tail = left[begin:].strip()
    level = _LEVEL.search(tail)
    if not level and len(tail) > 6:
        tail = tail[-4:]
    if (
        not tail
        or not re.match("[一-龥]", tail)
        or re.search(r"[马公铁高条这那哪走过上下]\Z", tail)
    ):
        return None
    return anchor - len(tail) - (len(left) - len(left.rstrip()))


def _region(left: str, at: int, known: frozenset[str]) -> int:
    """Where the region ends that begins at `at`; 0: none does."""
    for length in range(min(LONGEST, len(left) - at), 1, -1):
        name, end = left[at : at + length], at + length
        if name not in known:
            continue
        # 江东 is a district, and the middle of 珠江东路.
        if (
            name[-1] in "省市区县旗州盟"
            or at == 0
            or left[at - 1] == " "
            or _STOP.match(left, at - 1)
        ):
            return end
        if any(left[end : end + more] in known for more in range(2, LONGEST)):
            return end
    return 0


def _end(text: str, at: int) -> int:
    for _piece in range(6):
        match = _TAIL.match(text, at)
        if match is None:
            break
        at = match.end()
    return at


@cache
def regions() -> frozenset[str]:
    """Names of provinces, cities and counties, with and without their last word: 北京市, 北京."""
    lines = (files("stdnum") / "cn" / "loc.dat").read_text(encoding="utf-8")
    found: set[str] = set()
    for names in re.findall(r'(?:province|county)="([^"]*)"', lines):
        found.update(name for name in re.split(r"[,，]?\[[^\]]*\]|[,，]", names) if name)
    found -= {"市辖区", "县", "郊区", "城区", "矿区", "市区"}
    short = {
        re.sub(r"(?:省|市|县|区|特别行政区|(?:壮族|回族|维吾尔)?自治区)\Z", "", n) for n in found
    }
    return frozenset(found | {name for name in short if len(name) > 1} - {"城关", "高新", "新城"})
