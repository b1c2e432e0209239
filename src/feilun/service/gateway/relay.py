"""What all chats share: the server behind, what is known already, and how many are under way."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from feilun.core.errors import FeilunError
from feilun.service.errors import json_response, status_of
from feilun.service.gateway import asked as asking
from feilun.service.gateway import masking
from feilun.service.gateway.cache import Cache, name_of
from feilun.service.gateway.chat import Chat, Store
from feilun.service.gateway.errors import GatewayFull
from feilun.service.gateway.leaving import ClientGone, until_gone
from feilun.service.gateway.masking import Masker
from feilun.service.gateway.upstream import Upstream
from feilun.store.events import ExchangeRow

if TYPE_CHECKING:
    from feilun.service.failures import Failures
    from feilun.service.metrics import Metrics
    from feilun.team import Key
    from feilun.wheel.project import Project

PATH = "/v1/chat/completions"
log = logging.getLogger("feilun.service")


class Relay:
    """Passes chats on under `[serve.gateway]`; one per process, on one event loop."""

    def __init__(self, project: Project, failures: Failures, metrics: Metrics) -> None:
        settings = project.settings.serve.gateway
        assert settings is not None
        self.settings = settings
        self.upstream = Upstream(settings)
        self.masker = Masker(_mask_step(project))
        self.keeps_texts = project.settings.serve.log.keep != "hash"
        self._task = project.settings.project.task.use
        self._failures = failures
        self.count = metrics.chatted
        self._events = project.events
        self.digest = project.privacy.digest
        self._cache = Cache(settings.cache_seconds, settings.cache_entries, settings.cache_bytes)
        self._open = 0
        self._later: set[asyncio.Future[Any]] = set()

    def start(self) -> None:
        """Loads what masking needs, beside whatever else begins: the first chat need not wait."""
        warm = partial(self.masker.masked, "13812345678")
        threading.Thread(target=warm, name="gateway", daemon=True).start()

    async def answer(
        self, body: dict[str, Any], key: Key, receive: Receive, store: Store
    ) -> Response:
        """The answer to a body that has a model and messages, or the stream of it.

        `store` makes a row durable. When the client goes away, `ClientGone` is raised, and the
        call to the server ends. Raises the errors of `errors.py`.
        """
        asked = asking.read(body, self.settings.models, self._task)
        if self.settings.mask:
            masking.check(asked.body["messages"])
        with ExitStack() as slot:
            slot.enter_context(self._slot())
            masked = await asyncio.to_thread(self.masker.masked, asked.body)
            chat = Chat(self, asked, masked, key.id, store)
            headers = {"x-feilun-cache": self._cache_word(chat)}
            if not asked.stream:
                return json_response(await until_gone(receive, chat.whole()), headers=headers)
            try:
                reply = await until_gone(receive, chat.begin())
            except BaseException:
                await chat.close()
                raise
            return _Stream(chat, chat.events(reply), slot.pop_all(), headers)

    def known(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer that was given to the same body before, where that may be given again."""
        return self._cache.get(name_of(body)) if self._may_keep(body) else None

    def remember(self, body: dict[str, Any], answer: dict[str, Any]) -> None:
        """Keeps a complete answer, where that is allowed."""
        if self._may_keep(body):
            self._cache.put(name_of(body), answer)

    def later(self, make: Callable[[], ExchangeRow]) -> None:
        """Makes a row and hands it to the log, in a thread; nobody waits for it."""

        def write() -> None:
            row = make()
            self.count(row)
            try:
                self._events.submit([row]).add_done_callback(_tell)
            except FeilunError as error:
                log.error("the end of a chat is not logged: %s", error.code)

        done = asyncio.get_running_loop().run_in_executor(None, write)
        self._later.add(done)
        done.add_done_callback(self._later.discard)

    def failed(self, error: FeilunError) -> None:
        """Notes an error that came when the status had been sent."""
        self._failures.note(PATH, status_of(error), error.code)

    def listed(self) -> list[dict[str, Any]]:
        """The names that requests may use, as entries of a list of models."""
        return [
            {"id": name, "object": "model", "created": 0, "owned_by": self.upstream.host}
            for name in self.settings.models
        ]

    async def close(self) -> None:
        """Ends every connection, once all rows are handed over."""
        if self._later:
            await asyncio.wait(self._later)
        await self.upstream.close()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """One of the chats under way; raises `GatewayFull`."""
        if self._open >= self.settings.max_concurrent:
            raise GatewayFull(self.settings.max_concurrent)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def _may_keep(self, body: dict[str, Any]) -> bool:
        cache = self.settings.cache
        return cache == "all" or (cache == "deterministic" and body.get("temperature") == 0)

    def _cache_word(self, chat: Chat) -> str:
        if chat.cached:
            return "hit"
        return "miss" if self._may_keep(chat.asked.body) else "off"


class _Stream(StreamingResponse):
    """The events of a chat, as long as its client listens."""

    def __init__(
        self,
        chat: Chat,
        events: AsyncGenerator[bytes],
        slot: ExitStack,
        headers: dict[str, str],
    ) -> None:
        # Proxies in between are asked not to collect what comes piece by piece.
        more = {"x-accel-buffering": "no"}
        super().__init__(events, headers=headers | more, media_type="text/event-stream")
        self._chat = chat
        self._events = events
        self._slot = slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(ClientGone):
                await until_gone(receive, self.stream_response(send))
        finally:
            self._slot.close()
            await self._events.aclose()
            await self._chat.close()


def _mask_step(project: Project) -> Any:
    """The project's own step `mask`, or the step as it is without settings."""
    from feilun.stages.prepare.mask import Mask

    steps = project.settings.prepare.steps
    return next((step for step in steps if isinstance(step, Mask)), Mask())


def _tell(future: Future[Any]) -> None:
    error = future.exception()
    if error is not None:
        log.error("the end of a chat is not logged: %s", type(error).__name__)
