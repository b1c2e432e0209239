"""The connection: to the address that was checked, and no longer than allowed."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore


class Pinned(httpcore.NetworkBackend):
    """Connects to the addresses that `checked` gives, asked once, whatever host is named.

    TLS is made above it with the name of the URL, so the certificate is still held against the
    name. `deadline` (of `time.monotonic`) ends every wait.
    """

    def __init__(self, checked: Callable[[], list[str]], deadline: float) -> None:
        self._checked = checked
        self._deadline = deadline
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address that takes one; `timeout` is for all together."""
        addresses = self._checked()
        end = time.monotonic() + _left(timeout, self._deadline, httpcore.ConnectTimeout)
        failed: Exception = httpcore.ConnectError()
        for number, address in enumerate(addresses):
            # One address that swallows packets must leave time for the next.
            share = max(0.1, (end - time.monotonic()) / (len(addresses) - number))
            try:
                stream = self._network.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
                continue
            return _Stream(stream, self._deadline)
        raise failed


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline: a host that sends one byte a minute
    keeps to any limit that counts from one byte to the next."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, self._deadline, httpcore.ConnectTimeout)
        secured = self._stream.start_tls(ssl_context, server_hostname, left)
        return _Stream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, deadline: float, late: type[Exception]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise late
    return left if timeout is None else min(timeout, left)
