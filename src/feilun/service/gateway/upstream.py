"""The server that chats are passed on to: one call, tried again where that may help."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.core.outbound import Outbound
from feilun.core.outbound.errors import HostRefused, Stalled
from feilun.core.outbound.streams import Reply, Streams
from feilun.service.gateway import completion, sse
from feilun.service.gateway.errors import (
    UpstreamBrokeOff,
    UpstreamFailed,
    UpstreamLacks,
    UpstreamLate,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamRejected,
    UpstreamUnusable,
)
from feilun.stages.serve.gateway import Gateway

LONGEST_PAUSE = 5.0
"""Seconds between two tries at most; who is to wait longer is told so."""
_SAID_BYTES = 65536
_SAID_SECONDS = 5.0
_DRAIN_SECONDS = 0.2
log = logging.getLogger("feilun.service")


class Upstream:
    """The server of `[serve.gateway]`; connections are kept between calls."""

    def __init__(self, settings: Gateway) -> None:
        self._settings = settings
        self.host = urlsplit(settings.url).netloc
        outbound = Outbound(allow=frozenset(settings.allow), read_seconds=settings.idle_seconds)
        self._streams = Streams(settings.address, outbound, settings.max_concurrent)

    async def close(self) -> None:
        """Ends every connection."""
        await self._streams.close()

    @asynccontextmanager
    async def asked(self, body: dict[str, Any], until: float) -> AsyncIterator[Reply]:
        """The reply to a body, once it begins with 200; leaving the block ends it.

        `until` is a time of `time.monotonic`. Raises every error of `errors.py` that begins with
        `Upstream`, and `SecretMissing`.
        """
        async with AsyncExitStack() as stack:
            async with self._in_time(until):
                reply = await self._begun(stack, body)
            yield reply

    async def _begun(self, stack: AsyncExitStack, body: dict[str, Any]) -> Reply:
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        for tried in range(self._settings.retries + 1):
            try:
                return await self._once(stack, content, str(body.get("model")))
            except (UpstreamLimited, UpstreamFailed) as error:
                asked = getattr(error, "retry_seconds", None)
                pause = 0.5 * 2**tried if asked is None else asked
                if tried == self._settings.retries or pause > LONGEST_PAUSE:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _once(self, stack: AsyncExitStack, content: bytes, model: str) -> Reply:
        async with AsyncExitStack() as own:
            try:
                reply = await own.enter_async_context(self._streams.post(content, self._headers()))
            except Stalled:
                raise self._silent() from None
            except HostRefused as error:
                log.error("the gateway's server is not called: %s", error.message)
                reason = _("its address is not public; [serve.gateway] allow may name it")
                raise UpstreamFailed(self.host, reason) from None
            except FeilunError as error:
                raise UpstreamFailed(self.host, error.message) from None
            if reply.status == 200:
                stack.push_async_exit(own.pop_all())
                return reply
            raise self._refusal(reply, await self._said(reply), model)

    def _headers(self) -> dict[bytes, bytes]:
        headers = {b"content-type": b"application/json", b"accept": b"*/*"}
        if self._settings.token is not None:
            headers[b"authorization"] = f"Bearer {self._settings.token.reveal()}".encode()
        return headers

    async def _said(self, reply: Reply) -> str:
        """The reason that a refusal gives, if it gives one soon."""
        said = b""
        with suppress(FeilunError, TimeoutError):
            async with asyncio.timeout(_SAID_SECONDS):
                async for piece in reply.pieces:
                    said += piece
                    if len(said) > _SAID_BYTES:
                        return ""
        try:
            return completion.error_text(json.loads(said))
        except (ValueError, RecursionError):
            return ""

    def _refusal(self, reply: Reply, said: str, model: str) -> FeilunError:
        status = reply.status
        if status in {401, 403}:
            log.error("the gateway's server refuses the token (%d)", status)
            return UpstreamRefused(self.host, status)
        if status == 404:
            return UpstreamLacks(self.host, model)
        if status == 429:
            return UpstreamLimited(self.host, retry_after(reply.headers.get("retry-after")))
        if status >= 500 or status == 408:
            return UpstreamFailed(self.host, str(status))
        if 400 <= status < 500:
            return UpstreamRejected(self.host, status, said)
        # A redirect would be an address that nobody checked.
        return UpstreamUnusable(self.host, _("status {status}").format(status=status))

    async def completion(self, reply: Reply, until: float) -> dict[str, Any]:
        """The whole completion in a reply; raises `UpstreamUnusable`, `UpstreamLate`,
        `UpstreamBrokeOff`."""
        content = bytearray()
        async with aclosing(self._pieces(reply, until)) as pieces:
            async for piece in pieces:
                content += piece
        return self._read(bytes(content))

    async def chunks(
        self, reply: Reply, until: float, complete: Callable[[], bool]
    ) -> AsyncGenerator[dict[str, Any]]:
        """The chunks in a reply as they come, up to the mark that ends them; those of a server
        that answers in one piece are made here. A stream may end without its mark once `complete`
        says that it is whole. Raises as `completion`."""
        if not reply.headers.get("content-type", "").lower().startswith("text/event-stream"):
            for chunk in completion.chunks(await self.completion(reply, until)):
                yield chunk
            return
        reader = sse.Reader(self._settings.most_bytes)
        async with aclosing(self._pieces(reply, until)) as pieces:
            async for piece in pieces:
                try:
                    for content in reader.feed(piece):
                        if content.strip() == sse.DONE:
                            return
                        yield self._read(content)
                except (sse.EventTooLong, UnicodeDecodeError):
                    raise UpstreamUnusable(self.host, _("not a chat completion")) from None
        if not complete():
            raise UpstreamBrokeOff(self.host)

    async def drain(self, reply: Reply) -> None:
        """Reads what little may follow the end, so that the connection can be used again."""
        with suppress(FeilunError, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _piece in reply.pieces:
                    pass

    def _read(self, content: str | bytes) -> dict[str, Any]:
        try:
            return completion.read(content)
        except completion.NoCompletion as error:
            if error.said:
                raise UpstreamBrokeOff(self.host, error.said) from None
            raise UpstreamUnusable(self.host, _("not a chat completion")) from None

    async def _pieces(self, reply: Reply, until: float) -> AsyncGenerator[bytes]:
        """The body, within its limits of bytes and time."""
        if reply.headers.get("content-encoding", "identity").lower() != "identity":
            raise UpstreamUnusable(self.host, _("it is packed"))
        size = 0
        while True:
            try:
                async with self._in_time(until):
                    piece = await anext(reply.pieces, None)
            except Stalled:
                raise self._silent() from None
            except UpstreamLate:
                raise
            except FeilunError:
                raise UpstreamBrokeOff(self.host) from None
            if piece is None:
                return
            size += len(piece)
            if size > self._settings.most_bytes:
                reason = _("more than {limit} bytes; [serve.gateway] most_bytes sets the limit")
                raise UpstreamUnusable(self.host, reason.format(limit=self._settings.most_bytes))
            yield piece

    @asynccontextmanager
    async def _in_time(self, until: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                yield
        except TimeoutError:
            seconds = self._settings.timeout_seconds
            raise UpstreamLate(self.host, "timeout_seconds", seconds) from None

    def _silent(self) -> UpstreamLate:
        return UpstreamLate(self.host, "idle_seconds", self._settings.idle_seconds)


def retry_after(value: str | None) -> float | None:
    """The seconds that the header asks for (RFC 9110, 10.2.3); None: it says nothing."""
    if value is None:
        return None
    if value.strip().isdecimal() and len(value) < 9:
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
