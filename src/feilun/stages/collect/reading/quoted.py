"""One record of CSV or TSV: the grammar, byte by byte where it must be."""

from __future__ import annotations

from typing import NamedTuple

_LF, _CR, _QUOTE = b"\n", b"\r", b'"'


class Taken(NamedTuple):
    """One record, or why it is none.

    `fields` is None for a bad record, whose `reason` then says why, and for a blank line, which
    has no reason. `end` is where the next record begins, or -1 where the end of a line that is
    too long has not been seen yet.
    """

    fields: list[str | None] | None
    reason: str
    end: int


class _NeedsMore(Exception):
    """The record goes on beyond the bytes that there are."""


class _OpenQuote(Exception):
    """A quote does not end as it must."""


class Grammar(NamedTuple):
    """What a record must be: its separator, its number of fields (0: any), its most bytes."""

    separator: bytes
    width: int
    most: int


def take(text: bytes, at: int, grammar: Grammar, *, final: bool) -> Taken | None:
    """The record that begins at `at`; None: it cannot be told without more bytes (never if
    `final`: then `text` must end with a line feed). Looks at no more than `most` bytes."""
    end = text.find(_LF, at) + 1
    if not end:
        return Taken(None, "too_long", -1) if len(text) - at > grammar.most else None
    if end - at > grammar.most:
        return Taken(None, "too_long", end)
    line = text[at : end - 1].removesuffix(_CR)
    if not line:
        return Taken(None, "", end)
    if _QUOTE not in line:
        fields = [field or None for field in line.split(grammar.separator)]
        return _checked(fields, line, grammar, end)
    try:
        return _take_quoted(text, at, end, grammar)
    except _OpenQuote:
        return Taken(None, "open_quote", end)
    except _NeedsMore:
        # Two bytes more, which say whether a quote ends the field.
        if final or len(text) - at >= grammar.most + 2:
            return Taken(None, "open_quote", end)
        return None


def _take_quoted(text: bytes, at: int, line_end: int, grammar: Grammar) -> Taken:
    fields: list[bytes | None] = []
    place, stop = at, at + grammar.most
    value: bytes | None
    while True:
        if text[place : place + 1] == _QUOTE:
            value, place = _quoted_field(text, place, stop, grammar.separator)
        else:
            value, place = _plain_field(text, place, stop, grammar.separator)
        fields.append(value)
        if text[place : place + 1] != grammar.separator:
            break
        place += 1
        if grammar.width and len(fields) >= grammar.width:
            # Too many already: where it would end no longer matters, and is not looked for.
            if place > line_end:
                raise _OpenQuote
            return _checked([], text[at : line_end - 1], grammar, line_end)
    end = text.find(_LF, place) + 1
    if end - at > grammar.most:
        raise _OpenQuote
    return _checked(fields, text[at : end - 1], grammar, end)


def _quoted_field(text: bytes, place: int, stop: int, separator: bytes) -> tuple[bytes, int]:
    """The field whose opening quote is at `place`, and where what follows it stands."""
    after = place + 1
    while True:
        quote = text.find(_QUOTE, after, stop)
        if quote < 0:
            raise _NeedsMore
        following = text[quote + 1 : quote + 2]
        if following == _QUOTE:
            after = quote + 2
        elif following in (separator, _LF) or text[quote + 1 : quote + 3] == _CR + _LF:
            return text[place + 1 : quote].replace(b'""', _QUOTE), quote + 1
        elif not following or (following == _CR and len(text) == quote + 2):
            raise _NeedsMore
        else:
            raise _OpenQuote


def _plain_field(text: bytes, place: int, stop: int, separator: bytes) -> tuple[bytes | None, int]:
    line_end = text.find(_LF, place, stop)
    if line_end < 0:
        raise _NeedsMore
    end = text.find(separator, place, line_end)
    if end < 0:
        end = line_end - 1 if text[place:line_end].endswith(_CR) else line_end
    return text[place:end] or None, end


def _checked(fields: list[bytes | None], record: bytes, grammar: Grammar, end: int) -> Taken:
    if b"\0" in record:
        return Taken(None, "not_text", end)
    try:
        record.decode()
    except UnicodeDecodeError:
        return Taken(None, "not_text", end)
    if grammar.width and len(fields) != grammar.width:
        return Taken(None, "ragged", end)
    return Taken([None if field is None else field.decode() for field in fields], "", end)
