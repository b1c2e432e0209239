"""The short way of plain requests to the live model: no parser, task, scope or response object.

A client that keeps its connection sends the same head again and again, but for the length of the
body. Once the gate has let a request through and it was answered, its head is known here. Of the
next one with that head only what can have changed since is looked at: whether its key still
opens, the key's rate, its body. Everything else, and whatever might be refused for its form, goes
the ordinary way, which says what is wrong. The answers are the same.

A request passes three threads: that of the connections takes it, the engine's answers a batch
and makes one work for the log of it, the log's makes that durable, and the first one answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError
from starlette.types import Scope

from feilun.core.errors import FeilunError, Full, Invalid, NotWritable
from feilun.core.i18n import speak
from feilun.service import answering, doorman, errors, sends
from feilun.service.answering import Service
from feilun.service.direct import Direct
from feilun.service.doorman import Doorman
from feilun.service.errors import NotStored
from feilun.service.headers import Headers
from feilun.service.known_heads import Head, KnownHeads
from feilun.service.said import Said, Written, good, refused
from feilun.service.sends import send_all
from feilun.service.telemetry.answered import Teller
from feilun.service.telemetry.asked import Asked
from feilun.service.telemetry.traces import Finished
from feilun.stages.serve import Answered, Overloaded, Stopped, TooLate, TooManyWaiting
from feilun.store.events import PredictionRow
from feilun.store.events.log import LogFull
from feilun.tasks.task import Input
from feilun.team import Key
from feilun.team import Scope as KeyScope


class Connection(doorman.Connection, sends.Connection, Protocol):
    """What is needed of a connection; see `PatientProtocol`."""

    def begun(self, request: Request) -> None: ...

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]: ...

    def answered(self, request: Request, keep_alive: bool) -> None: ...


class Request:
    """One request on its way; to its connection an exchange, to the engine a promise."""

    __slots__ = (
        "answered", "asked", "connection", "deadline", "ended", "head", "inputs", "keep_alive",
        "key", "more", "rows", "started", "subject", "told",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        head: Head,
        key: Key,
        told: _Told,
        started: float,
    ) -> None:
        self.connection: Connection | None = connection
        self.head, self.key, self.told, self.started = head, key, told, started
        self.asked = Asked(None)
        self.asked.key = key.id
        self.keep_alive = True
        self.ended = False
        self.inputs: Sequence[Input] = ()
        self.subject: str | None = None
        self.deadline = 0.0
        self.more: tuple[tuple[bytes, bytes], ...] = ()
        self.answered: Answered | None = None
        self.rows: list[PredictionRow] = []

    # What the connection calls

    def lost(self) -> None:
        """The client has gone: what it asked for is answered to nobody."""
        self.connection = None

    def broken(self) -> None:
        """What came behind was no HTTP: no other request follows."""
        self.keep_alive = False

    # What the engine calls

    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.ended

    def set_running_or_notify_cancel(self) -> bool:
        """Whether it is still to be computed."""
        return not self.ended

    def set_result(self, answered: Answered, /) -> None:
        """Told with the others of its batch."""
        self.answered = answered
        self.told.computed.append(self)

    def set_exception(self, error: BaseException, /) -> None:
        """Told at once."""
        self.told.finish([self], error, None)


class _Told(NamedTuple):
    """Where the engine's thread leaves what it computed, and how it says what went wrong."""

    computed: list[Request]
    finish: Callable[[list[Request], BaseException | None, tuple[float, float] | None], None]


class Express:
    """Answers what it can of one service; `route` is the path of its task, `direct` how it is
    answered the ordinary way.

    Cascades that take what is left to an endpoint or a person are not answered here: `take`
    refuses everything then. For one event loop.
    """

    def __init__(self, service: Service, teller: Teller, route: str, direct: Direct) -> None:
        assert direct.shape is not None
        self._service = service
        self._teller = teller
        self._route = route
        self._shape = direct.shape
        self._serve = service.project.settings.serve
        self._heads = KnownHeads(f"POST {route} HTTP/1.1".encode())
        self._told = _Told([], self._hand_over)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: dict[Request, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._written = Written(self._serve)
        self._doorman: Doorman | None = None
        service.live.engine.after_batch = self._store

    def learn(self, head: bytes, scope: Scope, headers: Headers) -> None:
        """A request with this head was let through by the gate and answered."""
        if not self._service.live.further.follows:
            self._loop = asyncio.get_running_loop()
            self._heads.learn(head, scope, headers)

    # The way of a request, on the thread of the connections

    def take(self, connection: Connection, data: bytes) -> bool:
        """Whether the request that `data` is has been taken over; only if `data` is one whole
        request with a known head, whose key opens and whose body has the right shape."""
        found = self._heads.found(data)
        if found is None or len(found[1]) > self._serve.max_body_bytes:
            return False
        head, content = found
        started = time.perf_counter()
        key = self._service.access.known(head.key, KeyScope.PREDICT)
        if key is None or key.limits.monthly is not None or key.limits.monthly_cost is not None:
            return False
        full = self._service.live.engine.full
        body: Any = None
        if not full:  # else nobody will read it
            try:
                body = self._shape.model_validate_json(content)
                answering.check(body.input, self._serve)
            except (ValidationError, Invalid):
                return False
        admission = self._service.limits.admit(key)
        if admission.error is not None:
            return False
        request = Request(connection, head, key, self._told, started)
        request.more = admission.headers
        connection.begun(request)
        if full:
            self._turn_away(request, Overloaded)
        else:
            request.inputs, request.subject = body.input, body.subject
            self._submit(request)
        return True

    def _submit(self, request: Request) -> None:
        live = self._service.live
        request.deadline = live.deadline(request.head.seconds)
        self._open[request] = None
        try:
            live.engine.submit_for(request, request.inputs, request.deadline)
        except (Overloaded, TooManyWaiting, Stopped) as error:
            self._turn_away(request, type(error))
        else:
            self._wake_at(request.deadline)

    # On the engine's thread

    def _store(self) -> None:
        """One work for the log of all that a batch answered."""
        if not self._told.computed:
            return
        done = self._told.computed[:]
        self._told.computed.clear()
        began = time.perf_counter()
        try:
            for one in done:
                one.rows = self._rows(one)
            future = self._service.project.events.submit([row for one in done for row in one.rows])
        except Exception as error:
            self._hand_over(done, error, None)
            return
        future.add_done_callback(partial(self._stored, done, began))

    def _rows(self, request: Request) -> list[PredictionRow]:
        assert request.answered is not None
        rows = answering.rows_of(
            self._service,
            request.inputs,
            request.answered,
            request.key.id,
            request.started,
            request=request.asked.id,
        )
        if request.subject is None:
            return rows
        whom = self._service.project.privacy.digest(request.subject)
        return [row._replace(subject=whom) for row in rows]

    # On the log's thread

    def _stored(self, done: list[Request], began: float, future: Future[list[str]]) -> None:
        self._hand_over(done, future.exception(), (began, time.perf_counter()))

    def _hand_over(
        self,
        done: list[Request],
        error: BaseException | None,
        commit: tuple[float, float] | None,
    ) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the time to drain is over, and nobody is there any more
            self._loop.call_soon_threadsafe(self._finish, done, error, commit)

    # On the thread of the connections again

    def _finish(
        self,
        done: list[Request],
        error: BaseException | None,
        commit: tuple[float, float] | None,
    ) -> None:
        answered = []
        for request in done:
            if request.ended:
                continue  # its time was over before
            if error is None and commit is not None:
                answered.append((request, self._said(request, commit)))
            else:
                self._refuse(request, error)
        self._send(answered)
        for request, _said in answered:
            self._service.live.shadow.offer(request.inputs, request.rows)

    def _said(self, request: Request, commit: tuple[float, float]) -> Said:
        answered = request.answered
        assert answered is not None
        request.asked.steps = [
            ("queue", request.started, answered.began),
            ("engine", answered.began, answered.ended),
            ("commit", *commit),
        ]
        answering.count(self._service, request.rows)
        return good(answering.told(request.rows, answered))

    def _refuse(self, request: Request, error: BaseException | None) -> None:
        if isinstance(error, (Full, NotWritable)):
            self._service.live.storage_failed()
            self._turn_away(request, NotStored)
        elif isinstance(error, (Overloaded, TooManyWaiting, Stopped, TooLate, LogFull)):
            self._turn_away(request, type(error))
        else:
            with speak(request.head.language):
                problem = errors.ours(error if isinstance(error, Exception) else RuntimeError())
                said = refused(problem)
            self._send([(request, said)])

    def _turn_away(self, request: Request, why: Callable[..., FeilunError]) -> None:
        if why is Overloaded:
            self._found_full()
        self._send([(request, self._written.refusal(why, request.head.language))])

    def _send(self, answers: Sequence[tuple[Request, Said]]) -> None:
        out = []
        for request, said in answers:
            request.ended = True
            self._open.pop(request, None)
            connection = request.connection
            if connection is not None:
                default, keep_alive = connection.default_headers, request.keep_alive
                content = self._written.whole(
                    said, default, request.asked.id, request.more, keep_alive=keep_alive
                )
                out.append((connection, content))
        send_all(out)
        for request, said in answers:
            if request.connection is not None:
                request.connection.answered(request, request.keep_alive)
                self._leave(request.connection, request)
            self._teller.tell(
                request.asked,
                Finished(
                    "POST", self._route, said.status, request.started, time.perf_counter(),
                    said.code, None, None,
                ),
            )  # fmt: skip

    # The doorman, while the line is full

    def release(self, connection: Connection) -> None:
        """Takes a connection back from the doorman."""
        if self._doorman is not None:
            self._doorman.release(connection)

    def close(self) -> None:
        """Takes all connections back."""
        if self._doorman is not None:
            self._service.live.engine.room = None
            self._doorman.close()
            self._doorman = None

    def _found_full(self) -> None:
        if self._doorman is None and self._teller.traces is None:  # his refusals have no spans
            assert self._loop is not None
            self._doorman = Doorman.opened(self._loop, self._written.at_the_door, self._refused)
        if self._doorman is not None:
            self._service.live.engine.room = self._doorman.places
            self._doorman.full()

    def _leave(self, connection: Connection, request: Request) -> None:
        """Its next request is the doorman's, while he refuses."""
        doorman = self._doorman
        plain = request.keep_alive and not request.more
        if doorman is None or not plain or not doorman.refuses:
            return
        if not doorman.leave(connection, request.head, request.key.id):
            self.close()  # He knows as many heads as he can; the next one begins anew.

    def _refused(self, key: str, count: int, seconds: float) -> None:
        asked = Asked(None)
        asked.key = key
        said, ended = self._written.refusal(Overloaded, None), time.perf_counter()
        began = ended - seconds / count
        finished = Finished("POST", self._route, said.status, began, ended, said.code, None, None)
        self._teller.tell(asked, finished, count)

    # Time

    def _wake_at(self, deadline: float) -> None:
        """Sees to it that what is open at `deadline` is answered then."""
        if self._timer is not None and self._wakes_at <= deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = deadline
        assert self._loop is not None
        wait = max(deadline - time.monotonic(), 0.0)
        self._timer = self._loop.call_later(wait, self._late)

    def _late(self) -> None:
        self._timer = None
        now = time.monotonic()
        for request in list(self._open):
            if request.deadline <= now:
                self._turn_away(request, TooLate)
        if self._open:
            self._wake_at(min(request.deadline for request in self._open))
