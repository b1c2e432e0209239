"""Server-sent events, as chat servers use them: read piece by piece, and written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

DONE = "[DONE]"


class EventTooLong(ValueError):
    """One event has more bytes than allowed."""


class Reader:
    """The `data` of the events in a stream of bytes (WHATWG HTML, 9.2.6).

    Lines may end in CR, LF or both, and pieces anywhere. Comments and every other field are
    passed over; an event that its stream's end cuts off does not count.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._after_return = False

    def feed(self, piece: bytes) -> Iterator[str]:
        """The events that are complete with this piece; raises `EventTooLong`,
        `UnicodeDecodeError`."""
        if self._after_return and piece:
            piece, self._after_return = piece.removeprefix(b"\n"), False
        self._after_return = piece.endswith(b"\r")
        lines = (self._rest + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line:
                self._take(line)
            elif self._data:
                yield b"\n".join(self._data).decode()
                self._data, self._size = [], 0
        if self._size + len(self._rest) > self._most_bytes:
            raise EventTooLong

    def _take(self, line: bytes) -> None:
        field, _colon, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
            if self._size > self._most_bytes:
                raise EventTooLong


def event(content: dict[str, Any] | str) -> bytes:
    """`content` as one event; what is no valid Unicode is replaced."""
    if not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return f"data: {content}\n\n".encode("utf-8", "replace")
