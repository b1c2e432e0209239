"""Answers that are sent together arrive whole, whatever their connections are like."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from feilun.service.sends import FEW, send_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere asyncio sends")


class Connected:
    """A connection to somebody who reads when asked to; `written` is what was left to it."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.peer = socket.create_connection(listener.getsockname())
            self.socket, _address = listener.accept()
        self.socket.setblocking(False)
        self.clear = True
        self.written = b""

    @property
    def descriptor(self) -> int:
        return self.socket.fileno()

    def write(self, content: bytes) -> None:
        self.written += content

    def arrived(self) -> bytes:
        """All that came through the socket itself."""
        self.socket.close()
        pieces = []
        while piece := self.peer.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        self.socket.close()
        self.peer.close()


@pytest.fixture
def connections() -> Iterator[list[Connected]]:
    made = [Connected() for _n in range(FEW + 2)]
    yield made
    for one in made:
        one.close()


def test_each_gets_its_own(connections: list[Connected]) -> None:
    contents = [b"%d\0" % number * 100 for number in range(len(connections))]
    send_all(list(zip(connections, contents, strict=True)))
    assert [one.written for one in connections] == [b""] * len(connections)
    assert [one.arrived() for one in connections] == contents


def test_what_the_kernel_does_not_take_is_left_to_the_connection(
    connections: list[Connected],
) -> None:
    whole = bytes(range(256)) * (1 << 17)  # 32 MB: more than the buffers of a socket hold
    send_all([(one, whole if one is connections[1] else b"good") for one in connections])
    left = connections[1].written
    assert 0 < len(left) < len(whole)
    assert connections[1].arrived() + left == whole
    assert connections[2].arrived() == b"good"


def test_one_that_is_not_clear_or_has_gone_keeps_nobody_from_theirs(
    connections: list[Connected],
) -> None:
    busy, gone, *others = connections
    busy.clear = False
    gone.socket.shutdown(socket.SHUT_WR)
    send_all([(one, b"good") for one in connections])
    assert busy.written == b"good"
    assert gone.written == b"good"  # the connection finds out what is wrong
    assert [one.arrived() for one in others] == [b"good"] * len(others)


def test_few_are_left_to_their_connections(connections: list[Connected]) -> None:
    send_all([(one, b"good") for one in connections[: FEW - 1]])
    assert [one.written for one in connections[: FEW - 1]] == [b"good"] * (FEW - 1)
