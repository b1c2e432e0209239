"""127.0.0.1, also where there is no network at all."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from contextlib import suppress

from feilun.core.errors import Missing
from feilun.core.i18n import _

_SIOCSIFFLAGS = 0x8914
_UP_AND_RUNNING = 0x1 | 0x40


class NoLoopback(Missing):
    """127.0.0.1 cannot be reached."""

    def __init__(self) -> None:
        super().__init__(
            _("127.0.0.1 cannot be reached: the loopback interface is down."),
            remedy="ip link set lo up",
        )


def ensure_loopback() -> None:
    """Switches the loopback interface on where it is off, as in a fresh network namespace
    (`unshare -rn`); raises `NoLoopback` where that is not allowed."""
    if _reachable():
        return
    if sys.platform == "linux":
        import fcntl

        request = struct.pack("16sh14x", b"lo", _UP_AND_RUNNING)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle, suppress(OSError):
            fcntl.ioctl(handle, _SIOCSIFFLAGS, request)
    if not _reachable():
        raise NoLoopback()


def _reachable() -> bool:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        return client.connect_ex(server.getsockname()) != errno.ENETUNREACH
