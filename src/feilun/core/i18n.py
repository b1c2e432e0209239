"""Every message in two languages: English is the source, the catalogues hold the others.

The language is, in this order: what `speak` set for this context (an HTTP request),
`FEILUN_LANG`, then the usual `LC_ALL`, `LC_MESSAGES`, `LANG`.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "zh")
LOCALE_FOLDER = Path(__file__).parent.parent / "locale"
_CATALOGUES = {"en": "en", "zh": "zh_CN"}
_spoken: ContextVar[str | None] = ContextVar("spoken", default=None)


def language() -> str:
    """`en` or `zh`: the language in which `_` answers here and now."""
    spoken = _spoken.get()
    if spoken is not None:
        return spoken
    for variable in ("FEILUN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(variable, "")
        if value:
            return closest(value) or "en"
    return "en"


def closest(tag: str) -> str | None:
    """The language of ours that a tag such as `zh-Hans-CN`, `zh_CN.UTF-8` or `en-GB` asks for."""
    name = tag.replace("_", "-").split("-")[0].split(".")[0].strip().lower()
    return name if name in LANGUAGES else None


def accepted(header: str) -> str | None:
    """The language an `Accept-Language` header prefers, or None when it names none of ours."""
    wishes: list[tuple[float, int, str]] = []
    for position, item in enumerate(header.split(",")[:32]):
        tag, _sep, parameters = item.partition(";")
        found = closest(tag.strip())
        weight = _weight(parameters)
        # A weight of 0 means «not this one» (RFC 9110, 12.5.4).
        if found is not None and weight > 0:
            wishes.append((-weight, position, found))
    return min(wishes)[2] if wishes else None


def _weight(parameters: str) -> float:
    name, _sep, value = parameters.strip().partition("=")
    if not name:
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if name.strip().lower() == "q" and 0 <= weight <= 1 else 0.0


@contextmanager
def speak(name: str | None) -> Iterator[None]:
    """Within the block, messages are in `name`; None leaves the language as it is."""
    token = _spoken.set(name if name is not None else _spoken.get())
    try:
        yield
    finally:
        _spoken.reset(token)


@cache
def _catalogue(name: str) -> gettext.NullTranslations:
    if name == "en":
        return gettext.NullTranslations()
    return gettext.translation("feilun", LOCALE_FOLDER, [_CATALOGUES[name]], fallback=True)


def _(message: str) -> str:
    """`message` in the language in force; the message itself where there is no translation."""
    # To gettext, the empty message is the catalogue's header.
    return _catalogue(language()).gettext(message) if message else ""


def N_(message: str) -> str:
    """Marks a message for translation where it is defined; `_` translates it where it is shown."""
    return message
