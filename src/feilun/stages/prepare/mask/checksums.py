"""What the numbers of people and companies say about themselves: check digits, dates, ranges.

The check digits are python-stdnum's; what it does not have (issuer ranges, the 15-digit id,
regions without a date) is here.
"""

# ruff: noqa: SIM905  (lists and patterns read better in long lines)
from __future__ import annotations

import datetime
import ipaddress
import re
from functools import lru_cache

from stdnum import luhn, numdb
from stdnum.cn import ric, uscc

PROVINCES = frozenset(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65"
    " 71 81 82 83".split()
)
"""The first two digits of GB/T 2260, with those of residents from Hong Kong, Macau, Taiwan."""


def bare(value: str) -> str:
    """Letters and digits of `value`, upper case: `6222 0210` → `62220210`."""
    return re.sub(r"[^0-9A-Za-z]", "", value).upper()


def digits(value: str) -> str:
    """The digits of `value` alone."""
    return re.sub(r"[^0-9]", "", value)


def resident_id(value: str) -> bool:
    """Whether this can be a resident id (GB 11643-1999), 18 characters or the old 15.

    18: province, a date of birth from 1850 to today, ISO 7064 MOD 11-2. 15 (until 2013, no check
    digit): the region must be one that GB/T 2260 has or had.
    """
    number = bare(value)
    if number[:2] not in PROVINCES:
        return False
    if len(number) == 15:
        return _date(f"19{number[6:12]}") and bool(_region(number[:6]))
    # A county that our table does not know yet must not be what lets a person's number through.
    return _date(number[6:14]) and ric.calc_check_digit(number) == number[-1]


def _date(text: str) -> bool:
    try:
        found = datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return found.year >= 1850 and found <= datetime.datetime.now(datetime.UTC).date()


@lru_cache(maxsize=4096)
def _region(code: str) -> bool:
    return any("county" in properties for _part, properties in numdb.get("cn/loc").info(code))


DEPARTMENTS = frozenset(
    "11 12 13 19 21 29 31 32 33 34 35 39 41 49 51 52 53 59 61 62 69 71 72 79 81 89 91 92 93 A1 A9"
    " N1 N2 N3 N9 Y1".split()
)
"""Who registers and what (GB 32100-2015, table 1)."""


def company_code(value: str) -> bool:
    """Whether this is a unified social credit code (GB 32100-2015): its check character fits."""
    number = bare(value)
    # Without the region every 30th mistyped resident id would be a company's code.
    region = number[2:4] in PROVINCES or number[2:4] == "10"
    return number[:2] in DEPARTMENTS and region and uscc.is_valid(number)


ISSUERS = (
    (r"62", (16, 17, 18, 19)),  # UnionPay
    (r"4", (13, 16, 19)),  # Visa
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
    (r"3[47]", (15,)),  # American Express
    (r"35(?:2[89]|[3-8])", (16,)),  # JCB
    (r"6011|64[4-9]|65", (16, 19)),  # Discover
    (r"36|38|30[0-5]", (14,)),  # Diners Club
    (r"9558|60[0-9]{2}82|6858|8888|9[0-9]{5}", (16, 17, 18, 19)),  # Chinese cards before UnionPay
)
"""The first digits that an issuer uses (ISO/IEC 7812-1) and how long its numbers are."""


def bank_card(value: str) -> bool:
    """Whether an issuer could have given this card number (ISO/IEC 7812-1, Luhn)."""
    number = digits(value)
    issued = any(len(number) in lengths and re.match(start, number) for start, lengths in ISSUERS)
    return issued and len(set(number)) > 1 and luhn.is_valid(number)


def account_number(value: str) -> bool:
    """Whether this is an IBAN (ISO 13616): length and shape of its country, MOD 97-10."""
    number = bare(value)
    digits_ = "".join(str(int(letter, 36)) for letter in number[4:] + number[:4])
    shape = _account_shape(number[:2])
    return int(digits_) % 97 == 1 and shape is not None and shape.fullmatch(number[4:]) is not None


@lru_cache(maxsize=1024)
def _account_shape(country: str) -> re.Pattern[str] | None:
    """What stands behind the check digits there, from the registry that stdnum carries."""
    found = numdb.get("iban").info(country)[0][1].get("bban")
    if not found:
        return None
    kinds = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}
    parts = re.findall(r"([0-9]+)(!?)([nac])", found)
    return re.compile("".join(f"{kinds[k]}{{{'' if fix else '0,'}{n}}}" for n, fix, k in parts))


def address_ip(value: str) -> bool:
    """Whether this is an IPv4 or IPv6 address of some machine: not loopback, not unspecified."""
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return False
    # `a::b` is an address to the letter, and C++ to everybody.
    short = found.version == 6 and len([part for part in value.split(":") if part]) < 3
    return not (found.is_loopback or found.is_unspecified or short)
