"""Refuses for the service while its line is full, on a thread that needs no interpreter.

In a flood nearly every request is refused, and each refusal in Python takes the interpreter from
the threads that compute. So a connection whose request was just refused because the line is full
is left to the doorman (door.c): what comes next on it is refused there for as long as the line
stays full, and the connection is handed back, with nothing of it read, as soon as there is room
or it sends anything but one whole request with the same head. On Linux; elsewhere Python refuses.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from feilun.core.compiled import library_path, load_library
from feilun.service.known_heads import Head

FULL_SECONDS = 0.02
"""How long the line counts as full after Python found it so, but for the places that the engine
says are free since."""
TELL_SECONDS = 0.25
"""How long it may take until those who were refused are counted."""
_MOST_BACK = 1024
_POINTER, _INT, _BYTES = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p


class Connection(Protocol):
    """What is needed of a connection; see `PatientProtocol`."""

    @property
    def descriptor(self) -> int: ...

    def step_out(self) -> bool: ...

    def step_in(self) -> None: ...


class Doorman:
    """Watches connections of one event loop. `answer` gives the refusal in a language, before and
    behind the request's id; `told` is called on the loop with the key of those who had it since
    the last time, how many, and the seconds that took. For the loop's thread, but for `places`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[[str | None], tuple[bytes, bytes]],
        told: Callable[[str, int, float], None],
    ) -> None:
        """Raises `OSError` where there is no descriptor left."""
        self._loop, self._answer, self._told = loop, answer, told
        self._ended = False
        self._native = _brief()
        self._door = self._native.fl_door_open()
        if not self._door:
            raise OSError
        self._refuses_until = -math.inf
        self._numbers: dict[Head, int] = {}
        self._keys: list[str] = []
        self._leaving: list[tuple[Connection, int]] = []
        self._watched: dict[int, Connection] = {}
        self._back = (ctypes.c_int32 * _MOST_BACK)()
        self._timer: asyncio.TimerHandle | None = None
        self._bell = self._native.fl_door_bell(self._door)
        loop.add_reader(self._bell, self._rung)
        work = _lasting().fl_door_run
        self._thread = threading.Thread(target=work, args=(self._door,), name="door", daemon=True)
        self._thread.start()

    @classmethod
    def opened(
        cls,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[[str | None], tuple[bytes, bytes]],
        told: Callable[[str, int, float], None],
    ) -> Doorman | None:
        """One that works; None where that cannot be."""
        if sys.platform != "linux":
            return None
        try:
            return cls(loop, answer, told)
        except OSError:
            return None

    def __del__(self) -> None:
        # Not earlier: the engine may be about to say how much room there is.
        if self._ended:
            self._native.fl_door_free(self._door)

    def full(self) -> None:
        """The line was found full now."""
        self._refuses_until = time.monotonic() + FULL_SECONDS
        self._native.fl_door_full(self._door, int(FULL_SECONDS * 1e9))

    @property
    def refuses(self) -> bool:
        """Whether he refuses now."""
        return time.monotonic() < self._refuses_until

    def places(self, free: int) -> None:
        """There is room for so many in the line; from any thread."""
        self._native.fl_door_places(self._door, free)

    def leave(self, connection: Connection, head: Head, key: str) -> bool:
        """Watches the connection for requests with this head, which came with this key, once what
        was written to it is sent; False: he knows as many heads as he can."""
        number = self._numbers.get(head)
        if number is None:
            parts = head.first, head.last + b"\r\n\r\n", *self._answer(head.language)
            given = [one for part in parts for one in (part, len(part))]
            number = self._native.fl_door_post(self._door, *given)
            if number < 0:
                return False
            self._numbers[head] = number
            self._keys.append(key)
        if not self._leaving:
            self._loop.call_soon(self._watch)
        self._leaving.append((connection, number))
        return True

    def release(self, connection: Connection) -> None:
        """Watches it no longer, so that it may be read, or closed."""
        descriptor = connection.descriptor
        if self._watched.pop(descriptor, None) is not None:
            self._native.fl_door_release(self._door, descriptor)

    def close(self) -> None:
        """Hands everything back and ends."""
        self._leaving.clear()
        self._loop.remove_reader(self._bell)
        for connection in list(self._watched.values()):
            self.release(connection)
            connection.step_in()
        if self._timer is not None:
            self._timer.cancel()
        self._tell()
        self._native.fl_door_end(self._door)
        self._thread.join()
        self._ended = True

    def _watch(self) -> None:
        for connection, number in self._leaving:
            if not connection.step_out():
                continue
            descriptor = connection.descriptor
            if self._native.fl_door_watch(self._door, descriptor, number):
                self._watched[descriptor] = connection
            else:
                connection.step_in()
        self._leaving.clear()
        if self._timer is None and self._watched:
            self._timer = self._loop.call_later(TELL_SECONDS, self._tell_again)

    def _rung(self) -> None:
        num = self._native.fl_door_left(self._door, self._back, _MOST_BACK)
        for descriptor in self._back[:num]:
            connection = self._watched.pop(descriptor, None)
            if connection is not None:
                connection.step_in()

    def _tell_again(self) -> None:
        self._tell()
        self._timer = None
        if self._watched:
            self._timer = self._loop.call_later(TELL_SECONDS, self._tell_again)

    def _tell(self) -> None:
        took = ctypes.c_int64()
        for number, key in enumerate(self._keys):
            count = self._native.fl_door_refused(self._door, number, ctypes.byref(took))
            if count:
                self._told(key, count, took.value / 1e9)


_ARGUMENTS: dict[str, list[Any]] = {
    "fl_door_open": [],
    "fl_door_free": [_POINTER],
    "fl_door_bell": [_POINTER],
    "fl_door_post": [_POINTER, *[_BYTES, _INT] * 4],
    "fl_door_watch": [_POINTER, _INT, _INT],
    "fl_door_release": [_POINTER, _INT],
    "fl_door_left": [_POINTER, _POINTER, _INT],
    "fl_door_refused": [_POINTER, _INT, _POINTER],
    "fl_door_full": [_POINTER, _INT],
    "fl_door_places": [_POINTER, _INT],
    "fl_door_end": [_POINTER],
}
_ANSWERS = {
    "fl_door_open", "fl_door_bell", "fl_door_post", "fl_door_watch", "fl_door_left",
    "fl_door_refused",
}  # fmt: skip


@cache
def _lasting() -> ctypes.CDLL:
    return load_library(library_path(__file__, "door"), {"fl_door_run": [_POINTER]}, set())


@cache
def _brief() -> ctypes.CDLL:
    """The calls that take a microsecond: they keep the interpreter, which to get back in a flood
    takes longer."""
    path = library_path(__file__, "door")
    return load_library(path, _ARGUMENTS, _ANSWERS, brief=True)
