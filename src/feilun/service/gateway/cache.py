"""Answers that may be given again: bounded in number, bytes and age, in memory alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_NOT_ASKED = frozenset({"stream", "stream_options"})
"""Parts of a body that say how, not what, is to be answered."""


class Cache:
    """Completions by what was asked; the one that was not used for longest goes first.

    They are kept as they came, with placeholders: whoever asks the same of other people gets the
    same answer, with their own people in it.
    """

    def __init__(
        self,
        seconds: float,
        most_entries: int,
        most_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def num_bytes(self) -> int:
        """The bytes of all answers together."""
        return self._num_bytes

    def get(self, name: bytes) -> dict[str, Any] | None:
        """The answer, made anew from its bytes; None where there is none that is young enough."""
        found = self._kept.get(name)
        if found is None:
            return None
        if found[0] < self._clock():
            self._drop(name)
            return None
        self._kept.move_to_end(name)
        answer: dict[str, Any] = json.loads(found[1])
        return answer

    def put(self, name: bytes, answer: dict[str, Any]) -> None:
        """Keeps the answer; one that is larger than everything allowed is not kept."""
        content = json.dumps(answer, separators=(",", ":")).encode()
        if name in self._kept:
            self._drop(name)
        if len(content) > self._most_bytes:
            return
        self._kept[name] = (self._clock() + self._seconds, content)
        self._num_bytes += len(content)
        while len(self._kept) > self._most_entries or self._num_bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: bytes) -> None:
        _until, content = self._kept.pop(name)
        self._num_bytes -= len(content)


def name_of(body: dict[str, Any]) -> bytes:
    """The digest of what a body asks: equal for equal model, messages and parameters."""
    asked = {name: value for name, value in body.items() if name not in _NOT_ASKED}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()
