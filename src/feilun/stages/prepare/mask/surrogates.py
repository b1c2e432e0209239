"""Surrogates: stand-ins of the same form, the same for the same value, that nobody can have.

A surrogate's digits are drawn from HMAC-SHA256 (RFC 2104) of the value under the project's key:
who has no key can neither compute nor invert it. Each kind takes a range that is, to our
knowledge, never given out, so a surrogate is nobody's number and is known for what it is: masking
twice is masking once. Not every row below was checked against its standard.

| kind | range | why it is nobody's |
|---|---|---|
| resident_id | region `PP0000` | a province itself registers nobody (GB/T 2260) |
| company_code | region `000000` | no such region |
| mobile | 164, 169 | not given out (MIIT) |
| landline | local number from 1 | short codes only |
| bank_card, iban | four zeros after the issuer's, or the country's, first digits | no such bank |
| passport, permit | 000 | before the first number of a series |
| plate | letter I | never used (GA 36) |
| e-mail, url | example.com | RFC 2606 |
| ip | 198.18.0.0/15, 2001:db8::/32 | RFC 2544, RFC 3849 |
| phone | exchange from 0; +999 | not in the North American plan; no country |
| ssn | area 000 | never assigned |
| account | `wxid_0000…`; QQ from 0 | not given out |
| name, address | 某; Doe- | how Chinese and English courts hide a name |
"""

# ruff: noqa: E501, SIM905  (lists and patterns read better in long lines)
from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path

from stdnum import luhn
from stdnum.cn import ric, uscc
from stdnum.iso7064 import mod_97_10

from feilun.core.errors import Damaged
from feilun.core.i18n import _
from feilun.stages.prepare.mask.checksums import bare, digits
from feilun.store.disk import lock, write_file

STEMS = "甲乙丙丁戊己庚辛壬癸"
SURNAMES = "赵钱孙李周吴郑王冯陈蒋沈韩杨朱秦许何吕张孔曹严魏陶姜谢邹苏潘葛范彭郎鲁马方任袁柳史唐"
GIVEN = "Alex Avery Blake Casey Drew Ellis Harper Jamie Jordan Kelly Logan Morgan Quinn Reese Riley".split()
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]


class MaskKeyDamaged(Damaged):
    """The key of the surrogates is not what was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("The key of the surrogates, {path}, is damaged.").format(path=path),
            remedy=_(
                "Restore it from a backup, or delete it: every surrogate then becomes another one."
            ),
        )


def key(path: Path) -> bytes:
    """The 32 secret bytes in the file at `path`, made on first use for its owner alone."""
    import secrets

    if not path.exists():
        with lock(path.with_suffix(".lock"), what="mask.key", wait_seconds=10):
            if not path.exists():
                write_file(path, secrets.token_bytes(32), mode=0o600)
    found = path.read_bytes()
    if len(found) != 32:
        raise MaskKeyDamaged(path)
    return found


class Lot:
    """A stream of numbers that the key and the value decide."""

    def __init__(self, secret: bytes, kind: str, value: str) -> None:
        drawn = hmac.new(secret, f"{kind}\0{value}".encode("utf-8", "replace"), hashlib.sha256)
        self._number = int.from_bytes(drawn.digest())

    def below(self, limit: int) -> int:
        """The next number from 0 to `limit` - 1; 256 bits in all."""
        self._number, drawn = divmod(self._number, limit)
        return drawn

    def digits(self, count: int) -> str:
        """The next `count` decimal digits."""
        return "".join(str(self.below(10)) for _at in range(count))


def surrogate(secret: bytes, kind: str, value: str) -> str:
    """What stands in for `value`: same kind, same form, and the same again for the same value.

    Separators and the length are kept; spaces, hyphens and letter case make no difference to
    the numbers that are drawn.
    """
    same = value if kind in {"name", "address", "url"} else bare(value)
    if kind == "mobile":
        same = digits(value)[-11:]
    return MAKERS[kind](value, Lot(secret, kind, same.casefold()))


def known(kind: str, value: str) -> bool:
    """Whether `value` is from the range that surrogates of its kind are drawn from."""
    number = bare(value)
    match kind:
        case "resident_id":
            return number[2:6] == "0000"
        case "company_code":
            return number[2:8] == "000000"
        case "bank_card":
            return number[2:6] == "0000"
        case "iban":
            return number[4:8] == "0000"
        case "mobile":
            return re.match("16[49]", digits(value)[-11:]) is not None
        case "account":
            return value.startswith(("wxid_0000", "0"))
        case "passport" | "permit":
            return re.match(r"[A-Z]{0,2}0000?", number) is not None
        case "name" | "address":
            return "某" in value or "Doe-" in value
        case "phone":
            return value.startswith("+999") or _exchange(value)
        case _:
            shape = _SHAPES.get(kind)
            return shape is not None and re.search(shape, value) is not None


_SHAPES = {
    "plate": r"\A.I",
    "email": r"@example\.com\Z",
    "url": r"\Ahttps://example\.com/\?token=",
    "ip": r"\A198\.1[89]\.|\A2001:db8:",
    "ssn": r"\A000",
    "landline": r"\A(?:\+86[ \-]?)?[(（]?0?(?:10|2[0-9]|[3-9][0-9]{2})[)）]?[ \-]?1",
}


def _exchange(value: str) -> bool:
    return re.search(r"[)\-. ]0[0-9]{2}[\-. ][0-9]{4}\Z", value) is not None


def _fill(form: str, new: str) -> str:
    """`form` with its letters and digits replaced by those of `new`, separators kept."""
    fresh = iter(new)
    return "".join(next(fresh, "0") if c.isascii() and c.isalnum() else c for c in form)


def _day(lot: Lot) -> str:
    return f"{lot.below(12) + 1:02}{lot.below(28) + 1:02}"


def _resident_id(value: str, lot: Lot) -> str:
    number = bare(value)
    if len(number) == 15:
        return number[:2] + "0000" + lot.digits(2) + _day(lot) + lot.digits(3)
    body = f"{number[:2]}0000{1940 + lot.below(70)}{_day(lot)}{lot.digits(3)}"
    return _fill(value, body + ric.calc_check_digit(body + "0"))


def _company_code(value: str, lot: Lot) -> str:
    body = f"{bare(value)[:2]}000000{lot.digits(9)}"
    return body + uscc.calc_check_digit(body)


def _bank_card(value: str, lot: Lot) -> str:
    number = digits(value)
    body = number[:2] + "0000" + lot.digits(len(number) - 7)
    return _fill(value, body + luhn.calc_check_digit(body))


def _iban(value: str, lot: Lot) -> str:
    number = bare(value)
    body = "0000" + lot.digits(len(number) - 8)
    check = mod_97_10.calc_check_digits(body + number[:2])
    return _fill(value, number[:2] + check + body)


def _mobile(value: str, lot: Lot) -> str:
    at = len(value) - len(_last(value, 11))
    return value[:at] + _fill(value[at:], ("164", "169")[lot.below(2)] + lot.digits(8))


def _last(value: str, count: int) -> str:
    """The end of `value` that has its last `count` digits."""
    seen = 0
    for at in range(len(value) - 1, -1, -1):
        seen += value[at].isdigit()
        if seen == count:
            return value[at:]
    return value


def _landline(value: str, lot: Lot) -> str:
    area = re.match(r"(?:\+86[ \-]?)?[(（]?0?(?:10|2[0-9]|[3-9][0-9]{2})[)）]?[ \-]?", value)
    at = area.end() if area else 0
    return value[:at] + _fill(value[at:].split("分机", maxsplit=1)[0].strip(), "1" + lot.digits(20))


def _lettered(value: str, lot: Lot) -> str:
    letters = re.match("[A-Z]*", value)
    head = letters[0] if letters else ""
    return head + _fill(value[len(head) :], "000" + lot.digits(12))


def _passport(value: str, lot: Lot) -> str:
    return _lettered(value if value[0].isalpha() else "E" + value[1:], lot)


def _plate(value: str, lot: Lot) -> str:
    tail = value[2:]
    return (
        value[0]
        + "I"
        + "".join(str(lot.below(10)) if c.isascii() and c.isalnum() else c for c in tail)
    )


def _phone(value: str, lot: Lot) -> str:
    if value.startswith("+") and not value.startswith("+1"):
        return f"+999 {lot.digits(3)} {lot.digits(4)} {lot.digits(4)}"
    return f"({2 + lot.below(8)}{lot.digits(2)}) 0{lot.digits(2)}-{lot.digits(4)}"


def _account(value: str, lot: Lot) -> str:
    if value[0].isdigit():
        return "0" + lot.digits(len(value) - 1)
    return f"wxid_0000{lot.digits(8)}"


def _ip(value: str, lot: Lot) -> str:
    if ":" in value:
        return f"2001:db8:{lot.below(65536):x}:{lot.below(65536):x}::{lot.below(65535) + 1:x}"
    return f"198.{18 + lot.below(2)}.{lot.below(256)}.{lot.below(256)}"


def _address(value: str, lot: Lot) -> str:
    if value.isascii():
        return f"{lot.below(900) + 1} Doe-{_word(lot)} Street"
    return f"{_stems(lot)}某路{lot.below(900) + 1}号"


def _name(value: str, lot: Lot) -> str:
    if value.isascii():
        return f"{GIVEN[lot.below(len(GIVEN))]} Doe-{_word(lot)}"
    return f"{SURNAMES[lot.below(len(SURNAMES))]}某{_stems(lot) if len(value) > 2 else ''}"


def _word(lot: Lot) -> str:
    return "".join(SYLLABLES[lot.below(len(SYLLABLES))] for _at in range(3)).capitalize()


def _stems(lot: Lot) -> str:
    return STEMS[lot.below(10)] + STEMS[lot.below(10)]


MAKERS: dict[str, Callable[[str, Lot], str]] = {
    "url": lambda _value, lot: f"https://example.com/?token={lot.digits(16)}",
    "email": lambda _value, lot: f"u{lot.digits(10)}@example.com",
    "iban": _iban,
    "company_code": _company_code,
    "resident_id": _resident_id,
    "bank_card": _bank_card,
    "permit": _lettered,
    "passport": _passport,
    "ssn": lambda _value, lot: f"000-{lot.below(99) + 1:02}-{lot.below(9999) + 1:04}",
    "mobile": _mobile,
    "phone": _phone,
    "landline": _landline,
    "plate": _plate,
    "ip": _ip,
    "account": _account,
    "address": _address,
    "name": _name,
}
