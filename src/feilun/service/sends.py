"""Answers of a batch, sent together: each is a call of the system's, in which asyncio keeps the
interpreter. They were a sixth of all the time that somebody had it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from typing import Protocol

from feilun.core.compiled import library_path, load_library

FEW = 4
"""Answers for which it is worth it, at least."""
_POINTER = ctypes.c_void_p


class Connection(Protocol):
    """What is needed of a connection; see `PatientProtocol`."""

    @property
    def descriptor(self) -> int: ...

    @property
    def clear(self) -> bool: ...

    def write(self, content: bytes) -> None: ...


def send_all(answers: Sequence[tuple[Connection, bytes]]) -> None:
    """Sends each content on its connection, or has that send what the kernel does not take now."""
    together = len(answers) >= FEW and sys.platform == "linux"
    direct = []
    for connection, content in answers:
        if together and connection.clear:
            direct.append((connection, content))
        else:
            connection.write(content)
    num = len(direct)
    if not num:
        return
    contents = [content for _connection, content in direct]
    sent = (ctypes.c_int64 * num)()
    _library().fl_send_all(
        (ctypes.c_int32 * num)(*[connection.descriptor for connection, _content in direct]),
        (ctypes.c_char_p * num)(*contents),
        (ctypes.c_int64 * num)(*map(len, contents)),
        num,
        sent,
    )
    for (connection, content), took in zip(direct, sent, strict=True):
        if took < len(content):
            connection.write(content[took:])


@cache
def _library() -> ctypes.CDLL:
    arguments = [_POINTER, _POINTER, _POINTER, ctypes.c_int64, _POINTER]
    return load_library(library_path(__file__, "send"), {"fl_send_all": arguments}, set())
