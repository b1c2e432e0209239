"""One chat, from the request to its row in the log."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from feilun.core.errors import FeilunError
from feilun.service.errors import content_of
from feilun.service.gateway import completion, sse
from feilun.service.gateway.asked import Asked, kept_messages, last_said
from feilun.service.gateway.completion import Assembly
from feilun.service.gateway.masking import ChunkRestorer, Masked, fixed, restored_completion
from feilun.store.clock import new_id
from feilun.store.events import ExchangeRow
from feilun.store.events.exchanges import ANSWERED, BROKEN, CACHED, CANCELLED, FAILED

if TYPE_CHECKING:
    from feilun.core.outbound.streams import Reply
    from feilun.service.gateway.relay import Relay

Store = Callable[[ExchangeRow], Awaitable[object]]
"""Returns once the row is durable; raises `NotStored`, `LogFull`."""


class Chat:
    """A chat that is being answered; `masked` is its body with placeholders.

    Whatever becomes of it, exactly one row says so: `whole` and `events` write that of an answer
    and wait until it is durable; who gives up earlier calls `ended`, which does not wait.
    """

    def __init__(self, relay: Relay, asked: Asked, masked: Masked, key: str, store: Store) -> None:
        self.id = new_id("chat")
        self.asked = asked
        self._relay = relay
        self._key = key
        self._store = store
        self._masked = masked
        self._body = masked.value if relay.settings.mask else asked.body
        self._values = masked.values if relay.settings.mask else {}
        self._at = time.time()
        self._started = time.perf_counter()
        self._until = time.monotonic() + relay.settings.timeout_seconds
        self._first_ms: float | None = None
        self._assembly = Assembly()
        self._recorded = False
        self._known = relay.known(self._body)
        self._stack = AsyncExitStack()

    @property
    def cached(self) -> bool:
        """Whether the answer was given before."""
        return self._known is not None

    async def whole(self) -> dict[str, Any]:
        """The answer in one piece, once its row is durable."""
        async with self._accounted():
            found = self._known
            if found is None:
                async with self._relay.upstream.asked(self._sent(), self._until) as reply:
                    self._first_ms = self._elapsed()
                    found = await self._relay.upstream.completion(reply, self._until)
            finish = all(choice.get("finish_reason") for choice in found["choices"])
            await self._answered(found, complete=bool(found["choices"]) and finish)
        return {**restored_completion(found, self._values), "id": self.id}

    async def begin(self) -> Reply | None:
        """Opens the answer of a stream, so that what keeps it from beginning is still an error
        with a status of its own; None where the answer is known. `close` it."""
        if self._known is not None:
            return None
        async with self._accounted():
            return await self._stack.enter_async_context(
                self._relay.upstream.asked(self._sent(), self._until)
            )

    async def close(self) -> None:
        """Ends the call, wherever it stands, and writes down that nobody waited for its end."""
        await self._stack.aclose()
        self.ended(CANCELLED)

    async def events(self, reply: Reply | None) -> AsyncGenerator[bytes]:
        """The answer as server-sent events. The mark of its end comes once its row is durable;
        what breaks off ends with an event that holds the error instead."""
        restorer = ChunkRestorer(self._values)
        try:
            async with aclosing(self._chunks(reply)) as chunks:
                async for chunk in chunks:
                    self._first_ms = self._first_ms or self._elapsed()
                    self._assembly.add(chunk)
                    if chunk["choices"] or self.asked.wants_usage:
                        yield sse.event(self._ours(restorer.restored(chunk)))
            rest = restorer.rest()
            if rest:
                head = {"object": "chat.completion.chunk", "model": self.asked.model}
                yield sse.event(self._ours({**head, "choices": rest}))
            found = self._known or self._assembly.completion()
            await self._answered(found, complete=self._assembly.complete)
        except FeilunError as error:
            # The status was sent long ago.
            self._relay.failed(error)
            self.ended(BROKEN, error.code)
            yield sse.event(content_of(error))
            return
        yield sse.event(sse.DONE)
        if reply is not None:
            await self._relay.upstream.drain(reply)

    async def _chunks(self, reply: Reply | None) -> AsyncGenerator[dict[str, Any]]:
        if self._known is not None:
            for chunk in completion.chunks(self._known):
                yield chunk
            return
        assert reply is not None
        chunks = self._relay.upstream.chunks(reply, self._until, lambda: self._assembly.complete)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def _ours(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """The chunk under our id, without figures that were asked for by us alone."""
        chunk = {**chunk, "id": self.id}
        if not self.asked.wants_usage:
            chunk.pop("usage", None)
        return chunk

    def _sent(self) -> dict[str, Any]:
        body = {**self._body, "model": self.asked.upstream}
        if self.asked.stream and self._relay.settings.ask_usage:
            options = body.get("stream_options")
            given = options if isinstance(options, dict) else {}
            body["stream_options"] = {**given, "include_usage": True}
        return body

    @asynccontextmanager
    async def _accounted(self) -> AsyncIterator[None]:
        try:
            yield
        except FeilunError as error:
            self.ended(FAILED, error.code)
            raise
        except asyncio.CancelledError:
            self.ended(CANCELLED)
            raise

    async def _answered(self, found: dict[str, Any], *, complete: bool) -> None:
        """Writes the row and waits for it; raises `NotStored`, `LogFull`."""
        outcome = CACHED if self.cached else ANSWERED
        row = await asyncio.to_thread(self._row, found, outcome, "", self._elapsed())
        # Whoever goes away from here on does not take the row away.
        self._recorded = True
        try:
            await self._store(row)
        except FeilunError:
            self._recorded = False
            raise
        self._relay.count(row)
        if complete and not self.cached:
            self._relay.remember(self._body, found)

    def ended(self, outcome: str, code: str = "") -> None:
        """Writes down, without waiting, that there is no whole answer; the first time counts."""
        if self._recorded:
            return
        self._recorded = True
        found, elapsed = self._assembly.completion(), self._elapsed()
        self._relay.later(lambda: self._row(found, outcome, code, elapsed))

    def _row(self, found: dict[str, Any], outcome: str, code: str, elapsed: float) -> ExchangeRow:
        """The row of this chat; called in a thread, for masking takes its time."""
        relay, masker = self._relay, self._relay.masker
        messages = fixed(kept_messages(self._masked.value["messages"]), self._masked.values)
        answer = completion.answer_text(found)
        if answer is not None:
            answer = masker.hidden(fixed(answer, self._masked.values))
        written = json.dumps(messages, ensure_ascii=False)
        asked_for = outcome not in {FAILED, CACHED}
        sent = json.dumps(kept_messages(self._body["messages"]), ensure_ascii=False)
        tokens = completion.tokens(found, sent if found["choices"] or asked_for else "")
        if outcome == FAILED:
            tokens = completion.Tokens(0, 0, False)
        cost = relay.settings.cost(tokens.prompt, tokens.completion) if asked_for else 0.0
        keeps = relay.keeps_texts
        return ExchangeRow(
            id=self.id,
            at=self._at,
            key=self._key,
            model=self.asked.model,
            upstream=self.asked.upstream,
            messages=written if keeps else "[]",
            text=last_said(messages) if keeps else "",
            answer=answer if keeps else None,
            outcome=outcome,
            code=code,
            streamed=self.asked.stream,
            finish=completion.finish_reason(found),
            prompt_tokens=tokens.prompt,
            completion_tokens=tokens.completion,
            estimated=tokens.estimated,
            cost=cost,
            latency_ms=elapsed,
            first_ms=self._first_ms,
            characters=self.asked.num_characters,
            kept="masked" if keeps else "hash",
            subject=relay.digest(self.asked.subject) if self.asked.subject else None,
        )

    def _elapsed(self) -> float:
        return (time.perf_counter() - self._started) * 1000
