"""Request bodies, read whole within their limits before any route runs."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from feilun.service.errors import Malformed, TooLarge, TooSlow, WrongType

BODY_SECONDS = 10.0
_DISCARD_SECONDS = 1.0
_DISCARD_FACTOR = 4


def check_type(given: str, wanted: str) -> None:
    """Passes when the media type is the wanted one, in UTF-8 if it says; raises `WrongType`."""
    media, _sep, parameters = given.partition(";")
    charset = parameters.partition("charset=")[2].strip().strip('"').lower()
    if media.strip().lower() != wanted or charset not in {"", "utf-8", "utf8"}:
        raise WrongType(given, wanted)


def check_length(given: str | None, limit: int) -> None:
    """Passes when the announced length is within the limit (or not announced)."""
    if given is not None and given.isdigit() and (len(given) > 18 or int(given) > limit):
        raise TooLarge(limit)


async def read(receive: Receive, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body; raises `TooLarge` on the first byte too many, `TooSlow`, `Malformed`."""
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Malformed("…")
                piece = message.get("body", b"")
                size += len(piece)
                if size > limit:
                    raise TooLarge(limit)
                pieces.append(piece)
                if not message.get("more_body", False):
                    return b"".join(pieces)
    except TimeoutError:
        raise TooSlow(seconds) from None


async def discard(receive: Receive, limit: int) -> bool:
    """Reads the rest of a refused body, up to a few times the limit and one second; whether it
    ended. A client that is cut off while it sends would not see why it was refused."""
    left = limit * _DISCARD_FACTOR
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return True
                left -= len(message.get("body", b""))
    except TimeoutError:
        pass
    return False


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, then what really comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
