"""Requests whose answers are read as they come, without holding up the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import NamedTuple, cast

import httpcore

from feilun.core.i18n import _
from feilun.core.outbound import errors
from feilun.core.outbound.client import Outbound, network_reason, public_authorities
from feilun.core.outbound.urls import PORTS, parsed

KEEP_SECONDS = 30.0


class Reply(NamedTuple):
    """An answer that has begun: its status (whatever it is, redirects too), its headers by
    lower-case name, and its body piece by piece, as it was sent."""

    status: int
    headers: dict[str, str]
    pieces: AsyncIterator[bytes]


class Streams:
    """POSTs to one URL under the rules of `Outbound`, from an event loop.

    Each new connection goes to an address that was checked for it; idle ones are kept for
    `KEEP_SECONDS`. Unlike `Outbound` no total is kept to, neither of seconds nor of bytes: that is
    the reader's. Raises `UrlRefused` at once.
    """

    def __init__(self, url: str, outbound: Outbound, connections: int) -> None:
        target = parsed(url, outbound.allow)
        self._url = url
        self._place = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path,
        )
        host = target.named if target.port == PORTS[target.scheme] else target.place
        self._headers = [(b"host", host.encode()), (b"user-agent", b"feilun")]
        self._waits = {"connect": outbound.connect_seconds, "pool": outbound.connect_seconds}
        self._waits |= {"read": outbound.read_seconds, "write": outbound.read_seconds}
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=outbound.tls or public_authorities(),
            max_connections=connections,
            keepalive_expiry=KEEP_SECONDS,
            network_backend=_Pinned(lambda: outbound.addresses(target)),
        )

    @asynccontextmanager
    async def post(self, body: bytes, headers: Mapping[bytes, bytes]) -> AsyncIterator[Reply]:
        """The reply to one request; leaving the block ends it, wherever it stands.

        Raises `HostRefused`, `Unreachable`, `Stalled` (it took the request and then fell silent)
        and `AnswerBroken`; the last two also while the body is read.
        """
        sent = [*self._headers, (b"accept-encoding", b"identity"), *headers.items()]
        async with AsyncExitStack() as stack:
            with self._clear_errors():
                response = await stack.enter_async_context(
                    self._pool.stream(
                        "POST",
                        self._place,
                        headers=sent,
                        content=body,
                        extensions={"timeout": self._waits},
                    )
                )
            found = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers
            }
            pieces = await stack.enter_async_context(aclosing(self._pieces(response)))
            yield Reply(response.status, found, pieces)

    async def _pieces(self, response: httpcore.Response) -> AsyncGenerator[bytes]:
        with self._clear_errors():
            # A generator, whatever its annotation says.
            stream = cast(AsyncGenerator[bytes, None], response.aiter_stream())
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    yield piece

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (httpcore.ReadTimeout, httpcore.WriteTimeout):
            raise errors.Stalled(self._url) from None
        except httpcore.TimeoutException:
            raise errors.Unreachable(self._url, _("it is too slow.")) from None
        except httpcore.NetworkError as error:
            raise errors.Unreachable(self._url, network_reason(error)) from None
        except httpcore.RemoteProtocolError:
            raise errors.AnswerBroken(self._url, _("it breaks the rules of HTTP.")) from None
        except httpcore.LocalProtocolError:
            reason = _("a header or the path has characters that cannot be sent.")
            raise errors.UrlRefused(self._url, reason) from None

    async def close(self) -> None:
        """Ends every connection."""
        await self._pool.aclose()


class _Pinned(httpcore.AsyncNetworkBackend):
    """As `network.Pinned`, for an event loop; the name is looked up in a thread."""

    def __init__(self, checked: Callable[[], list[str]]) -> None:
        self._checked = checked
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that takes one; `timeout` is for all together."""
        addresses = await asyncio.to_thread(self._checked)
        end = time.monotonic() + (5.0 if timeout is None else timeout)
        failed: Exception = httpcore.ConnectError()
        for number, address in enumerate(addresses):
            # One address that swallows packets must leave time for the next.
            share = max(0.1, (end - time.monotonic()) / (len(addresses) - number))
            try:
                return await self._network.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
