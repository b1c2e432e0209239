"""Work for a client ends when the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from feilun.core.errors import Invalid
from feilun.core.i18n import _

T = TypeVar("T")


class ClientGone(Invalid):
    """Who asked went away before the answer; nobody reads this."""

    kind = "slow"

    def __init__(self) -> None:
        super().__init__(
            _("The client went away before the answer."), remedy=_("Wait for the answer.")
        )


async def until_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; when the client goes away first, `work` is cancelled and has ended
    before `ClientGone` is raised. The request's body must have been read."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        raise ClientGone()
    return task.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
