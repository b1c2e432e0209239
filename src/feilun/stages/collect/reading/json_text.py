"""JSON: a list of objects, an object that holds such a list, one object, or several.

Read element by element: however long the list, no more than a block and one element are held.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from feilun.core.i18n import _
from feilun.stages.collect.reading.errors import UnreadableFile
from feilun.stages.collect.reading.lines import EXCERPT_BYTES
from feilun.stages.collect.reading.objects import Rows, scan
from feilun.stages.collect.reading.unpacking import BLOCK

OWN_LISTS = frozenset(
    {
        "messages", "conversation", "conversations", "turns", "history", "prompt", "chosen",
        "rejected", "completion", "completions", "tokens", "tags", "spans", "entities", "label",
        "labels", "annotations", "predictions", "result",
    }
)  # fmt: skip
"""Keys of lists that belong to one record, so that an object with one is a record."""
_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r'[\\"\[\]{},]')
_NEXT_LINE = re.compile(r"\n[ \t]*\{")
_NEAR = 64 << 10
"""Characters in which the end of a bad element is looked for by its brackets, first."""
_PER_FRAME = 65_536


class JsonText:
    """The rows of one JSON text, read from blocks of UTF-8."""

    def __init__(
        self,
        blocks: Iterator[bytes],
        most: int,
        path: object,
        quarantine: Callable[[int, str, str | bytes], None],
    ) -> None:
        self._blocks = blocks
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="feilun.mark").decode
        self._most = most
        self._path = str(path)
        self._quarantine = quarantine
        self._rows = Rows(quarantine)
        self._text = ""
        self._at = 0
        self._final = False
        self._number = 0
        self._has_bad = False  # bytes that do not fit the encoding
        self._cut_off = False  # the end of the text was reached inside of an element

    def frames(self) -> Iterator[pl.DataFrame]:
        """Frames of text columns and `_row`, the number of the element. Quarantined: `too_long`,
        `not_text`, `not_json`, `too_deep`, `not_an_object`; raises `UnreadableFile` where the
        top level is neither a list nor an object, or an object that cannot be read."""
        beginning = self._next()
        if not beginning:
            return
        if beginning not in "[{":
            raise UnreadableFile(
                self._path, "json", _("the top level is neither a list nor an object")
            )
        listed = beginning == "["
        if listed:
            self._at += 1
        else:
            listed = self._enter_list()
        yield from self._elements(listed)

    def _elements(self, listed: bool) -> Iterator[pl.DataFrame]:
        size = 0
        while (begins := self._next()) and not (listed and begins == "]"):
            if begins == ",":
                self._at += 1
                continue
            self._number += 1
            size += self._element(listed)
            if len(self._rows) >= _PER_FRAME or size > BLOCK:
                size = 0
                yield from self._rows.taken()
        if listed and not begins and not self._cut_off:
            self._quarantine(self._number + 1, "not_json", "")  # the list does not end
        yield from self._rows.taken()

    def _element(self, listed: bool) -> int:
        """Reads the element that begins here; how many characters it has."""
        try:
            value, size = self._value(0)
        except (ValueError, RecursionError) as error:
            if self._number == 1 and not listed:
                raise UnreadableFile(self._path, "json", error) from error
            self._skip("too_deep" if isinstance(error, RecursionError) else "not_json")
            return 0
        begin, self._at = self._at, self._at + size
        if size > self._most:
            excerpt = self._text[begin : begin + EXCERPT_BYTES]
            self._quarantine(self._number, "too_long", excerpt)
        elif self._has_bad and "\udcff" in self._text[begin : self._at]:
            excerpt = self._text[begin : begin + EXCERPT_BYTES]
            self._quarantine(self._number, "not_text", excerpt)
        else:
            self._rows.add_value(self._number, value)
        return size

    def _enter_list(self) -> bool:
        """Goes to the first element of the list of objects in the object that begins here;
        False, going nowhere: it has none."""
        offset = 1
        try:
            while offset <= self._most:
                key, offset = self._value(self._white(offset))
                offset = self._white(offset)
                if type(key) is not str or self._character(offset) != ":":
                    return False
                offset = self._white(offset + 1)
                if self._character(offset) == "[" and key not in OWN_LISTS:
                    inside = self._white(offset + 1)
                    if self._character(inside) == "{":
                        self._at += inside
                        return True
                _value, offset = self._value(offset)
                offset = self._white(offset)
                if self._character(offset) != ",":
                    return False
                offset += 1
        except (ValueError, RecursionError):
            pass
        return False

    def _value(self, offset: int) -> tuple[Any, int]:
        """The value at an offset from here, and the offset where it ends; raises `ValueError`,
        `RecursionError`."""
        while True:
            size = len(self._text) - self._at - offset
            try:
                value, end = scan(self._text, self._at + offset)
            except StopIteration:
                if size > self._most or not self._more():
                    raise ValueError(_("it ends in the middle, or no value begins")) from None
            except ValueError:
                if size > self._most or not self._more():
                    raise
            else:
                # At the end of what was read, a number may go on.
                if end < len(self._text) or not self._more():
                    return value, end - self._at

    def _skip(self, reason: str) -> None:
        """Goes on after the element that begins here: where its brackets close; else with the
        next line that begins an object; else the rest is part of it."""
        while len(self._text) - self._at <= self._most and self._more():
            pass
        text, begin, number = self._text, self._at, self._number
        excerpt = text[begin : begin + EXCERPT_BYTES]
        closing = _Closing()
        end = closing.after(text, begin, begin + _NEAR)
        if end < 0 and (following := _NEXT_LINE.search(text, begin)) and reason == "not_json":
            end = following.end() - 1
        if end >= 0:
            self._at = end
        else:
            if reason == "not_json" and not self._final:
                reason = "too_long"
            end = closing.after(text, begin + _NEAR)
            while end < 0:
                self._at = len(self._text)
                if not self._more():
                    break
                end = closing.after(self._text, 0)
            self._cut_off = end < 0
            self._at = end if end >= 0 else len(self._text)
        if "\udcff" in excerpt or "\0" in excerpt:
            reason = "not_text"
        self._quarantine(number, reason, excerpt)

    def _more(self) -> bool:
        """Doubles the text from here on, by whole blocks; False: there is no more."""
        rest = self._text[self._at :]
        parts, size = [rest], 0
        while not self._final and size < max(1, len(rest)):
            block = next(self._blocks, None)
            self._final = block is None
            parts.append(self._decode(block or b"", final=self._final))
            size += len(parts[-1])
        self._text, self._at = "".join(parts), 0
        self._has_bad = "\udcff" in self._text
        return size > 0

    def _white(self, offset: int) -> int:
        """The offset of the next character that is not white space."""
        while True:
            match = _SPACE.match(self._text, self._at + offset)
            end = match.end() if match else self._at + offset
            if end < len(self._text) or not self._more():
                return end - self._at

    def _character(self, offset: int) -> str:
        return self._text[self._at + offset : self._at + offset + 1]

    def _next(self) -> str:
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""


class _Closing:
    """Looks for the end of an element, in one text after the other."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def after(self, text: str, at: int, stop: int = sys.maxsize) -> int:
        """The place after the element's last bracket, or of what follows it; -1: not here."""
        escaped = at if self._escaped else -1
        self._escaped = self._escaped and at >= len(text)
        for match in _TOKEN.finditer(text, at, stop):
            sign, place = match[0], match.start()
            if place == escaped:
                continue
            if sign == "\\":
                escaped = place + 1
                self._escaped = escaped >= min(stop, len(text))
            elif sign == '"':
                self._in_string = not self._in_string
            elif self._in_string:
                continue
            elif sign in "[{":
                self._depth += 1
            elif self._depth == 0:
                return place
            elif sign in "]}":
                self._depth -= 1
                if self._depth == 0:
                    return match.end()
        return -1
