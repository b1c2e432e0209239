"""The kinds of personal data and how each is found.

Every pattern is linear in the text: what repeats is bounded, and a boundary before it keeps a
long run from being tried at each of its places.
"""

# ruff: noqa: E501  (lists and patterns read better in long lines)
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stdnum.cn import uscc

from feilun.stages.prepare.mask import checksums
from feilun.stages.prepare.mask.addresses import ADDRESS_HINT, addresses
from feilun.stages.prepare.mask.english import ENGLISH_HINT, english_names

Span = tuple[int, int]

APART = "\x1e"
"""Stands between texts that are searched together (ASCII's record separator)."""

BEFORE = r"(?<![0-9A-Za-z_])(?<![0-9][.\-])"
AFTER = r"(?![0-9A-Za-z_]|[.\-][0-9])"

NUMBERED = re.compile(
    r"(?:单号|订单|编号|流水号?|货号|型号|批次|批号|序列号|版本号?|条码|条形码|期号|案号|票号|工单|运单"
    r"|快递|发票|合同号|金额|价格|(?i:orders?|tracking|invoice|ticket|sku|isbn|serial|part|version"
    r"|build|batch|model|ref(?:erence)?|ver|case))"
    r"(?:号码?|代码|id|ID|(?i:number|no)\.?)?[\s:：#为是]{0,3}[#A-Z]?\Z"
)
"""What says, right before a number, that it counts things and not people."""


class Kind(NamedTuple):
    """One kind of personal data.

    `gate` and `hint` are patterns of the Rust `regex` crate: a text without them has nothing of
    this kind. A gate runs at gigabytes a second and is shared by several kinds; a hint is only
    looked for behind its gate. `search` yields the spans in a text, or in several with `APART`
    between them: no find, and nothing that decides on one, goes across. Chinese names are not among
    them: those are found by a scorer (`scorer.py`).
    """

    name: str
    gate: str
    hint: str
    search: Callable[[str], Iterator[Span]]

    @property
    def token(self) -> str:
        """What stands in its place: `[BANK_CARD]`."""
        return f"[{self.name.upper()}]"


def _true(_value: str) -> bool:
    return True


def matching(
    pattern: str,
    valid: Callable[[str], bool] = _true,
    *,
    near: str | None = None,
    counted: bool = False,
    shrink: bool = False,
) -> Callable[[str], Iterator[Span]]:
    """A search for `pattern` (its group `value`, if it has one) where `valid` agrees.

    `near` must stand within 24 characters before or 8 after. `counted`: not after a word that
    numbers things. `shrink`: an invalid find is tried again without its last words.
    """
    compiled = re.compile(pattern)
    group: int | str = "value" if "value" in compiled.groupindex else 0
    cue = re.compile(near) if near else None

    def search(text: str) -> Iterator[Span]:
        for match in compiled.finditer(text):
            start, end = match.span(group)
            while shrink and not valid(text[start:end]) and " " in text[start:end]:
                end = text.rindex(" ", start, end)
            if not valid(text[start:end]):
                continue
            if counted and NUMBERED.search(text, _floor(text, start, 24), start):
                continue
            if cue and not (
                cue.search(text, _floor(text, start, 24), start)
                or cue.search(text, end, _ceiling(text, end, 8))
            ):
                continue
            yield start, end

    return search


def _floor(text: str, at: int, most: int) -> int:
    """At most so many characters before `at`, and in its text."""
    low = max(0, at - most)
    return max(low, text.rfind(APART, low, at) + 1)


def _ceiling(text: str, at: int, most: int) -> int:
    high = text.find(APART, at, at + most)
    return at + most if high < 0 else high


def _either(*searches: Callable[[str], Iterator[Span]]) -> Callable[[str], Iterator[Span]]:
    def search(text: str) -> Iterator[Span]:
        for each in searches:
            yield from each(text)

    return search


SECRETS = (
    r"(?i:[?&#;](?:[a-z_\-]{0,24}(?:token|secret|signature|password|passwd|credential)|auth|sig|sign|pwd"
    r"|(?:[a-z]{1,12}[_\-])?key|apikey|session(?:_?id)?|sid|ticket|jwt|code)=[^&#\s]{6})"
)
_SECRET = re.compile(rf"{SECRETS}|\A[a-zA-Z]{{2,12}}://[^/@\s:]{{1,256}}:[^/@\s]{{1,256}}@")


def _secret(value: str) -> bool:
    return _SECRET.search(value) is not None


def _international(value: str) -> bool:
    return 8 <= len(checksums.digits(value)) <= 15


def _plate(value: str) -> bool:
    # A plate of letters alone is a word.
    return any(letter.isdigit() for letter in value)


def _chat(value: str) -> bool:
    return any(letter in "0123456789_-" for letter in value)


_AREA = r"(?:10|2[0-9]|[3-9][0-9]{2})"
_VERSION = re.compile(
    r"(?i:版本号?|固件|内核|version|firmware|release|build|ver|driver|驱动|v)[\s:：为是.]{0,3}\Z"
)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = matching(rf"(?<![0-9A-Za-z_.\-]){_OCTET}(?:\.{_OCTET}){{3}}(?![0-9A-Za-z_]|[.\-][0-9])",
                 checksums.address_ip)  # fmt: skip


def _ipv4(text: str) -> Iterator[Span]:
    for start, end in _IPV4(text):
        if not _VERSION.search(text, _floor(text, start, 12), start):
            yield start, end


def _company_code(value: str) -> bool:
    # A surrogate's region is 000000.
    at_home = value[2:8] == "000000"
    return checksums.company_code(value) or (at_home and uscc.is_valid(value))


def _mobile(value: str) -> bool:
    # The segments that the ministry (MIIT) has given out; 164 and 169 are our surrogates'.
    number = checksums.digits(value)[-11:]
    return re.match(r"1(?:[3489]|5[^4]|6[245679]|7[^9])", number) is not None


_DATE = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_ID18 = rf"[1-8][0-9]{{5}} ?(?:18|19|20)[0-9]{{2}}{_DATE} ?[0-9]{{3}}[0-9Xx]"
_ID15 = rf"[1-8][0-9]{{7}}{_DATE}[0-9]{{3}}"
_CARD = (
    r"3[47][0-9]{2}[ \-]?[0-9]{6}[ \-]?[0-9]{5}"
    r"|[2-9][0-9]{3}(?:[ \-]?[0-9]{4}){2}(?:[ \-]?[0-9]{4}(?:[ \-]?[0-9]{1,3})?|[ \-]?[0-9]{1,3})"
)
_TAKES = r"(?:号码?|账号|帐号|(?i:id)|账户)?[ \t\r\n\u3000\xa0:：是为]{0,3}"

DIGITS, SIGNS, ANY, CAPITALS = "[0-9]", "@|://", "", "[A-Z]"
"""Gates; `ANY` lets every text through."""
_PERMIT = r"通行证|回乡证|港澳|香港|澳门|(?i:permit|hong kong|macau)"
_TAIWAN = r"台胞证|台湾|台灣|台通|(?i:taiwan)"
_PASSPORT = r"护照|護照|(?i:passport)"

KINDS = (
    Kind("url", SIGNS, r"://", matching(
        r"(?<![A-Za-z])(?i:https?|ftps?|wss?|postgres(?:ql)?|mysql|redis|mongodb|amqp)://"
        r"[^\s<>\"'\[\]一-鿿，。；！？（）【】、]{3,2048}(?<![.,;:!?)}])", _secret)),
    Kind("email", SIGNS, r"[A-Za-z0-9]@[A-Za-z0-9]", matching(
        r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9_][A-Za-z0-9._%+\-]{0,63}@"
        r"(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9\-])")),
    Kind("iban", DIGITS, r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4}", matching(
        rf"{BEFORE}[A-Z]{{2}}[0-9]{{2}}(?: ?[A-Z0-9]{{4}}){{2,7}}(?: ?[A-Z0-9]{{1,4}})?{AFTER}",
        checksums.account_number, shrink=True)),
    Kind("resident_id", DIGITS, r"[1-8][0-9]{5} ?[0-9]{8}", _either(
        matching(BEFORE + _ID18 + AFTER, checksums.resident_id),
        matching(BEFORE + _ID15 + AFTER, checksums.resident_id, counted=True))),
    Kind("company_code", DIGITS, r"[0-9A-Y]{2}[0-9]{6}[0-9A-Y]{10}", matching(
        rf"{BEFORE}[0-9A-HJ-NPQRTUWXY]{{2}}[0-9]{{6}}[0-9A-HJ-NPQRTUWXY]{{10}}{AFTER}",
        _company_code)),
    Kind("bank_card", DIGITS, r"[2-9][0-9]{3}[ \-]?[0-9]{4}[ \-]?[0-9]{4}|3[0-9]{3}[ \-]?[0-9]{6}", matching(
        f"{BEFORE}(?:{_CARD}){AFTER}", checksums.bank_card, counted=True)),
    Kind("permit", DIGITS, f"{_PERMIT}|{_TAIWAN}", _either(
        matching(rf"{BEFORE}(?:[HM][0-9]{{8}}(?:[0-9]{{2}})?|[CW](?:[A-Z][0-9]{{7}}|[0-9]{{8}})){AFTER}",
                 near=_PERMIT),
        matching(rf"{BEFORE}(?:[LT]?[0-9]{{8}}(?:[0-9]{{2}})?(?:\([A-Z]\))?){AFTER}",
                 near=_TAIWAN, counted=True))),
    Kind("passport", DIGITS, _PASSPORT, matching(
        rf"{BEFORE}(?:[A-Z][A-Z]?[0-9]{{7,8}}|1[45][0-9]{{7}}){AFTER}",
        near=_PASSPORT)),
    Kind("ssn", DIGITS, r"[0-9]{3}-[0-9]{2}-[0-9]{4}", matching(
        rf"{BEFORE}(?!666|9)[0-9]{{3}}-(?!00)[0-9]{{2}}-(?!0000)[0-9]{{4}}{AFTER}",
        counted=True)),
    Kind("mobile", DIGITS, r"1[3-9][0-9][ \-]?[0-9]{4}", matching(
        rf"{BEFORE}(?:(?:\+|00)?86[ \-]?)?1[3-9][0-9](?P<gap>[ \-]?)[0-9]{{4}}(?P=gap)[0-9]{{4}}{AFTER}",
        _mobile, counted=True)),
    Kind("phone", DIGITS, r"[2-9][0-9]{2}[)\-. ]{1,2}[0-9]{3}[\-. ][0-9]{4}|\+[1-9]|07[0-9]{3} ?[0-9]{3}", _either(
        matching(
            rf"{BEFORE}(?:\+?1[\-. ]?)?(?:\([2-9][0-9]{{2}}\) ?|[2-9][0-9]{{2}}(?P<by>[\-. ]))"
            rf"[0-9]{{3}}[\-. ][0-9]{{4}}{AFTER}",
            counted=True),
        matching(rf"(?<![0-9A-Za-z+])\+(?!86)[1-9][0-9]{{0,2}}[\-. ]?(?:\(0\)[\-. ]?)?"
                 rf"[0-9]{{1,5}}(?:[\-. ]?[0-9]{{2,5}}){{1,4}}{AFTER}", _international),
        matching(rf"{BEFORE}07[0-9]{{3}} ?[0-9]{{3}} ?[0-9]{{3}}{AFTER}", counted=True))),
    Kind("landline", DIGITS, r"(?:0[0-9]{2,3}[)） \-]{0,2}|\+86[ \-]?[(（]?[0-9]{2,4}[)） \-]{0,2})[1-8][0-9]{2,3} ?[0-9]{4}", matching(
        rf"{BEFORE}(?:\+86[ \-]?\(?0?{_AREA}\)?[ \-]?|\(0{_AREA}\)[ \-]?|（0{_AREA}）|0{_AREA}[ \-]?)"
        rf"[1-8][0-9]{{2,3}}[ ]?[0-9]{{4}}(?:(?:-|转| ?分机 ?| ext\.? ?)[0-9]{{1,5}})?{AFTER}",
        counted=True)),
    Kind("plate", DIGITS, r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z]", matching(
        r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z][·•.\- ]?"
        r"(?:[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳]|[A-HJK][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[A-HJK])"
        r"(?![0-9A-Za-z])", _plate)),
    Kind("ip", DIGITS, r"\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:", _either(
        _ipv4,
        matching(r"(?<![0-9A-Za-z:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z:])",
                 checksums.address_ip))),
    Kind("account", ANY, r"微信|(?i:wechat|weixin|wx|vx|qq)|加V|V信|扣扣|企鹅", _either(
        matching(rf"(?:微信|V信|加V|(?<![A-Za-z])(?i:wechat|weixin|wx|vx)){_TAKES}"
                 r"(?P<value>[A-Za-z][A-Za-z0-9_\-]{5,19})(?![A-Za-z0-9_\-])", _chat),
        matching(rf"(?:扣扣|企鹅|(?<![A-Za-z])(?i:qq))群?{_TAKES}(?P<value>[0-9]{{5,11}}){AFTER}"))),
    Kind("address", ANY, ADDRESS_HINT, addresses),
    Kind("name", CAPITALS, ENGLISH_HINT, english_names),
)  # fmt: skip
"""In the order in which a place that two kinds claim is given away."""

NAMES = tuple(kind.name for kind in KINDS)
