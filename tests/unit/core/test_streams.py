"""Streams keep to the addresses that `Outbound` would call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from feilun.core.outbound import Outbound
from feilun.core.outbound.errors import HostRefused, Stalled, Unreachable, UrlRefused
from feilun.core.outbound.streams import Streams
from tests.unit.core.chat_server import Reply, chat_server


async def _whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def posted(url: str, outbound: Outbound, times: int = 1) -> list[tuple[int, bytes]]:
    async def run() -> list[tuple[int, bytes]]:
        streams, found = Streams(url, outbound, 4), []
        try:
            for _time in range(times):
                async with streams.post(b"{}", {}) as reply:
                    found.append((reply.status, await _whole(reply.pieces)))
        finally:
            await streams.close()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1"])
def test_a_name_that_leads_inwards_is_not_called(address: str) -> None:
    outbound = Outbound(resolver=lambda _host, _port: ["93.184.216.34", address])
    with pytest.raises(HostRefused):
        posted("http://models.example/v1", outbound)


def test_a_name_is_asked_once_for_a_connection() -> None:
    asked: list[str] = []

    def resolver(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with chat_server(lambda body, n: Reply(content=b"ok")) as server:
        port = server.url.split(":")[2].split("/")[0]
        place = f"models.example:{port}"
        outbound = Outbound(allow=frozenset({place}), resolver=resolver)
        assert posted(f"http://{place}/v1", outbound, times=3) == [(200, b"ok")] * 3
        assert asked == ["models.example"], "an idle connection is used again"
        assert server.requests[0][0]["host"] == place


def test_other_ports_must_be_allowed() -> None:
    with pytest.raises(UrlRefused):
        Streams("http://models.example:8080/v1", Outbound(), 1)


def test_silence_and_nobody_are_told_apart() -> None:
    with chat_server(lambda body, n: Reply(pause=20)) as server:
        place = server.url.split("/")[2]
        with pytest.raises(Stalled):
            posted(server.url, Outbound(allow=frozenset({place}), read_seconds=0.2))
    with pytest.raises(Unreachable) as gone:
        posted(server.url, Outbound(allow=frozenset({place})))
    assert not isinstance(gone.value, Stalled)
