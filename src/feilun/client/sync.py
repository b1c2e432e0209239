"""`Client`: a service, asked from ordinary code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar, overload

import httpx

from feilun.client import calls
from feilun.client.answers import Batch, BatchLine, Classified, Compared, ModelInfo, Tagged, Valued
from feilun.client.calls import Pair, Question, Rating, Slices, Target
from feilun.client.errors import NoAnswer, ServiceError
from feilun.client.exchange import Call, Wait, exchange

T = TypeVar("T")


class Client:
    """A running service.

        with Client("http://127.0.0.1:8000", "fw_…") as client:
            client.classify("物流很快").label

    `url` and `key` come from FEILUN_URL and FEILUN_KEY where they are not given. A request is
    tried again up to `retries` times when the service is busy or the connection breaks;
    `timeout_seconds` is that of one try. Every method raises a `ServiceError`. Safe to share
    between threads.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        retries: int = 5,
        max_inputs: int = 256,
        http: httpx.Client | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._target = Target.of(url, key, timeout_seconds, retries)
        self._http = http or httpx.Client()
        self._owns_http = http is None
        self._slices = Slices(max_inputs)
        self._sleep = sleep

    def close(self) -> None:
        """Closes the connections; not those of an `http` that was given."""
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # Answers

    @overload
    def classify(self, texts: str) -> Classified: ...  # type: ignore[overload-overlap]
    @overload
    def classify(self, texts: Iterable[str]) -> list[Classified]: ...
    def classify(self, texts: str | Iterable[str]) -> Classified | list[Classified]:
        """The label of a text; of several, a list in their order, in as many requests as it
        takes."""
        return self._asked(calls.CLASSIFY, texts)

    @overload
    def tag(self, texts: str) -> Tagged: ...  # type: ignore[overload-overlap]
    @overload
    def tag(self, texts: Iterable[str]) -> list[Tagged]: ...
    def tag(self, texts: str | Iterable[str]) -> Tagged | list[Tagged]:
        """The entities in a text, or in each of several."""
        return self._asked(calls.TAG, texts)

    @overload
    def match(self, pairs: Pair) -> Compared: ...
    @overload
    def match(self, pairs: Iterable[Pair]) -> list[Compared]: ...
    def match(self, pairs: Pair | Iterable[Pair]) -> Compared | list[Compared]:
        """Whether the two texts of a pair (a tuple) go together, or those of each of several."""
        return self._asked(calls.MATCH, pairs)

    @overload
    def regress(self, texts: str) -> Valued: ...  # type: ignore[overload-overlap]
    @overload
    def regress(self, texts: Iterable[str]) -> list[Valued]: ...
    def regress(self, texts: str | Iterable[str]) -> Valued | list[Valued]:
        """A number for a text, or for each of several."""
        return self._asked(calls.REGRESS, texts)

    @overload
    def embeddings(self, texts: str) -> list[float]: ...  # type: ignore[overload-overlap]
    @overload
    def embeddings(self, texts: Iterable[str]) -> list[list[float]]: ...
    def embeddings(self, texts: str | Iterable[str]) -> list[float] | list[list[float]]:
        """The vector of a text, or of each of several."""
        return self._asked(calls.EMBEDDINGS, texts)

    def classify_each(self, texts: Iterable[str]) -> Iterator[Classified]:
        """As `classify`, of any number of texts: they are taken and answered as the results are
        wanted, so that memory does not grow with them."""
        return self._each(calls.CLASSIFY, texts)

    def tag_each(self, texts: Iterable[str]) -> Iterator[Tagged]:
        """As `classify_each`, of `tag`."""
        return self._each(calls.TAG, texts)

    def match_each(self, pairs: Iterable[Pair]) -> Iterator[Compared]:
        """As `classify_each`, of `match`."""
        return self._each(calls.MATCH, pairs)

    def regress_each(self, texts: Iterable[str]) -> Iterator[Valued]:
        """As `classify_each`, of `regress`."""
        return self._each(calls.REGRESS, texts)

    # Feedback and models

    def feedback(
        self,
        prediction_id: str,
        kind: str,
        value: Rating,
        *,
        source: str = "",
        idempotency_key: str | None = None,
    ) -> str:
        """The id of the feedback, once it is durable; `kind` is `rating`, `correction`,
        `outcome` or `comment`. The same idempotency key records it once."""
        call = calls.feedback(prediction_id, kind, value, source, idempotency_key)
        return calls.read(self._sent(call), lambda told: str(told["id"]))

    def models(self) -> list[ModelInfo]:
        """The newest models, newest first."""
        return calls.read_models(self._sent(Call("GET", "/v1/models")))

    # Batches

    def create_batch(self, inputs: Iterable[Any] | Path) -> Batch:
        """A new batch of inputs, or of the lines in a file (JSON Lines), which is sent without
        being held in memory."""
        return calls.read_as(Batch, self._sent(calls.batch_call(inputs)))

    def batches(self) -> list[Batch]:
        """This key's newest batches, newest first."""
        return calls.read_batches(self._sent(Call("GET", "/v1/batches")))

    def batch(self, identity: str) -> Batch:
        """One batch as it stands."""
        call = Call("GET", "/v1/batches/status", query={"id": identity})
        return calls.read_as(Batch, self._sent(call))

    def cancel_batch(self, identity: str) -> Batch:
        """The batch, ended early; its results so far stay."""
        call = Call("POST", "/v1/batches/cancel", query={"id": identity})
        return calls.read_as(Batch, self._sent(call))

    def wait_for_batch(
        self, identity: str, *, every_seconds: float = 1.0, at_most_seconds: float = 3600.0
    ) -> Batch:
        """The batch once it has ended, or as it stands when the time is over."""
        until = time.monotonic() + at_most_seconds
        while not (batch := self.batch(identity)).ended and time.monotonic() < until:
            self._sleep(every_seconds)
        return batch

    def batch_results(self, identity: str) -> Iterator[BatchLine]:
        """The results of a batch so far, line by line as they arrive."""
        call = Call("GET", "/v1/batches/results", query={"id": identity})
        answer = self._sent(call, stream=True)
        try:
            for line in answer.iter_lines():
                yield calls.read_line(line)
        except httpx.TransportError as error:
            raise NoAnswer(self._target.url, type(error).__name__, 1) from error
        finally:
            answer.close()

    # One call

    def _asked(self, question: Question[T], inputs: Any) -> T | list[T]:
        if question.is_one(inputs):
            return question.read(self._sent(question.call([inputs])))[0]
        return list(self._each(question, inputs))

    def _each(self, question: Question[T], inputs: Iterable[Any]) -> Iterator[T]:
        for some in self._slices.of(inputs):
            waiting = [some]
            while waiting:
                part = waiting.pop(0)
                try:
                    yield from question.read(self._sent(question.call(part)))
                except ServiceError as error:
                    halves = self._slices.halved(part, error)
                    if halves is None:
                        raise
                    waiting = halves + waiting

    def _sent(self, call: Call, *, stream: bool = False) -> httpx.Response:
        steps = exchange(call, self._target.url, self._target.retries)
        step = next(steps)
        while True:
            came: httpx.Response | httpx.TransportError | None = None
            if isinstance(step, Wait):
                self._sleep(step.seconds)
            else:
                try:
                    came = self._tried(step, stream)
                except httpx.TransportError as error:
                    came = error
            try:
                step = steps.send(came)
            except StopIteration as done:
                answer: httpx.Response = done.value
                return answer

    def _tried(self, call: Call, stream: bool) -> httpx.Response:
        with ExitStack() as files:
            body: dict[str, Any] = {}
            if isinstance(call.body, Path):
                body["content"] = files.enter_context(call.body.open("rb"))
            elif isinstance(call.body, bytes):
                body["content"] = call.body
            elif call.body is not None:
                body["json"] = call.body
            request = self._http.build_request(
                call.method,
                self._target.url + call.path,
                params=dict(call.query or {}),
                headers={**self._target.headers, **call.headers},
                timeout=self._target.timeout,
                **body,
            )
            answer = self._http.send(request, stream=True)
            if not (stream and answer.is_success):
                try:
                    answer.read()
                finally:
                    answer.close()
            return answer
