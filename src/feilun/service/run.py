"""`feilun serve`: the process around the app, from the first key to the last open request."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import ipaddress
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import NamedTuple

import uvicorn

from feilun.core.errors import Conflict, Invalid
from feilun.core.i18n import _
from feilun.service.app import create_app
from feilun.service.live import Live
from feilun.service.protocol import PatientProtocol
from feilun.service.telemetry.logs import set_up
from feilun.wheel.project import Project

BACKLOG = 512
SWITCH_SECONDS = 0.0005
"""After which a thread lets another have the interpreter. With Python's own 0.005 a flood that is
refused holds up the threads that compute: they got a twentieth less done."""
_M_ARENA_MAX = -8  # of malloc.h
KEEP_ALIVE_SECONDS = 30
_GARBAGE = (20_000, 20, 50)
"""Objects made since the last look for garbage; looks between two of what outlived one, or two."""
_LAST_LOOKS, _LAST_LOOK_SECONDS = 5, 0.01
"""How often, and how long apart, what has come is read before the connections are closed."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
log = logging.getLogger("feilun.service")


class PortInUse(Conflict):
    """Another process listens there."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            _("Port {port} on {host} is in use by another process; [serve] port sets it.").format(
                port=port, host=host
            ),
            remedy=f"feilun serve --port {port + 1 if port < 65535 else 0}",
        )


class CannotListen(Invalid):
    """The address is not this machine's, or the port is not for this user."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            _(
                "Cannot listen on {host}, port {port}: {reason}. [serve] host and port set it."
            ).format(host=host, port=port, reason=reason),
            remedy="feilun serve --host 127.0.0.1 --port 0",
        )


class Ready(NamedTuple):
    """A server that answers now: where, the first key's text if it was just made (it cannot be
    had again), whether a model is live, whether that is not served because it cannot be loaded, and
    whether other machines can reach it."""

    url: str
    host: str
    port: int
    first_key: str | None
    live: bool
    refused: bool
    exposed: bool


def serve(
    project: Project,
    host: str | None = None,
    port: int | None = None,
    *,
    on_ready: Callable[[Ready], None] = lambda _ready: None,
) -> None:
    """Serves until SIGTERM or SIGINT, then finishes open requests and returns.

    The port is taken before anything else happens, so that a second server changes nothing.
    Raises `PortInUse`, `CannotListen`, or what keeps the live model from being loaded.
    """
    settings = project.settings.serve
    host = settings.host if host is None else host
    listener = listen(host, settings.port if port is None else port)
    end_log = set_up(settings.telemetry)
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    _share_heaps()
    try:
        app = create_app(project, host)
        live: Live = app.state.service.live
        live.start()
        first_key = None if project.keys.all() else project.keys.add("first")
        bound = int(listener.getsockname()[1])
        exposed = not _is_loopback(listener.getsockname()[0])
        if exposed:
            log.warning("listening on %s: other machines can reach this server", host)
        refused = live.refused is not None
        ready = Ready(_url(host, bound), host, bound, first_key, live.ready, refused, exposed)
        config = uvicorn.Config(
            app,
            http=partial(PatientProtocol, express=app.state.express),  # type: ignore[arg-type]
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
        )
        server = _Server(config, live, lambda: on_ready(ready))
        logging.getLogger("uvicorn.error").addFilter(_without_trace)
        with _stopped_by_signals(server):
            server.run(sockets=[listener])
    finally:
        sys.setswitchinterval(before)
        listener.close()
        end_log()


def _share_heaps() -> None:
    """Lets the threads share two heaps, where the C library is glibc. It gives each its own, and
    none gives back what another could use: a network's threads held 14 MB more so."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one; raises `PortInUse`, `CannotListen`."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise CannotListen(host, port, str(error)) from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # At once: two sockets may bind to one port while neither listens.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from None
        raise CannotListen(host, port, os.strerror(error.errno or 0)) from None
    listener.set_inheritable(False)
    return listener


class _Server(uvicorn.Server):
    """Uvicorn's server, which is unready from the signal on and tells when it listens."""

    def __init__(self, config: uvicorn.Config, live: Live, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._live = live
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        # What is loaded by now stays: looking through all of it again and again for garbage took
        # a third of the time of a request, and a tenth of a second at once. Not even once is it
        # looked through: 800 of 170,000 objects were garbage.
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        gc.enable()
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # What was sent before the signal may not have been read yet; a connection that is closed
        # then, or a listener with somebody in its queue, would cut it.
        for _look in range(_LAST_LOOKS):
            await asyncio.sleep(_LAST_LOOK_SECONDS)
        await super().shutdown(sockets=sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._live.draining = True
        super().handle_exit(sig, frame)


@contextmanager
def _stopped_by_signals(server: _Server) -> Iterator[None]:
    """Within the block our handlers stand below Uvicorn's own, which raises the signal once
    more when it has drained: it must then end nothing, so that the exit code is 0."""

    def stop(sig: int, frame: FrameType | None) -> None:
        server.should_exit = True

    try:
        before = {sig: signal.signal(sig, stop) for sig in _SIGNALS}
    except ValueError:
        # Not the main thread: whoever started us stops us.
        yield
        return
    try:
        yield
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


def _without_trace(record: logging.LogRecord) -> bool:
    """Logs name places in the code, never what was in a request."""
    record.exc_info = None
    return True


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in shown and shown == host else f"http://{shown}:{port}"
