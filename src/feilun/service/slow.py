"""Connections that dawdle are cut: the one thing that Uvicorn's protocol leaves open."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from feilun.core.i18n import _
from feilun.service.errors import Malformed, answer

HEAD_SECONDS = 10.0


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol on h11, which waits only `HEAD_SECONDS` for a request's head, however
    slowly its bytes drip in, and answers what is not HTTP in our shape."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            # Either the head is not complete, or the next one has not begun; Uvicorn's own
            # timer for the latter ends at the first byte.
            if self._head_timer is None and self.conn.trailing_data[0]:
                self._start()
        else:
            self._stop()

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()
            return
        refusal = answer(Malformed(_("it is no HTTP request")))
        headers = [*refusal.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(refusal.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _start(self) -> None:
        self._stop()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._cut)

    def _stop(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
