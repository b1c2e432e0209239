"""The calls of the API: what each sends, and how its answer is read. Both clients share them."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from feilun.client.answers import Batch, BatchLine, Classified, Compared, ModelInfo, Tagged, Valued
from feilun.client.errors import ServiceError, ServiceFailed
from feilun.client.exchange import Call
from feilun.core.i18n import _

URL = "http://127.0.0.1:8000"
T = TypeVar("T")
Pair = tuple[str, str]
Rating = str | float | bool


class Target(NamedTuple):
    """Where the service is and how it is asked; what is not given comes from the environment
    (`FEILUN_URL`, `FEILUN_KEY`)."""

    url: str
    headers: dict[str, str]
    timeout: httpx.Timeout
    retries: int

    @classmethod
    def of(cls, url: str | None, key: str | None, timeout_seconds: float, retries: int) -> Target:
        """The target; without a key only what needs none will be answered."""
        url = (url or os.environ.get("FEILUN_URL") or URL).rstrip("/")
        key = key or os.environ.get("FEILUN_KEY")
        headers = {"user-agent": "feilun-client"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        return cls(url, headers, httpx.Timeout(timeout_seconds), retries)


class Question(Generic[T]):
    """A route that answers inputs, one result for each, and the shape of a result."""

    def __init__(self, path: str, result: type[T], *, pairs: bool = False) -> None:
        self.path = path
        self._pairs = pairs
        self._results = TypeAdapter(list[result])  # type: ignore[valid-type]

    def is_one(self, inputs: Any) -> bool:
        """Whether that is one input, not several."""
        if self._pairs:
            return isinstance(inputs, tuple) and all(isinstance(one, str) for one in inputs)
        return isinstance(inputs, str)

    def call(self, inputs: Sequence[Any]) -> Call:
        """The request for some inputs."""
        return Call("POST", self.path, {"input": list(inputs)})

    def read(self, answer: httpx.Response) -> list[T]:
        """The results in an answer."""
        return read(answer, lambda told: self._results.validate_python(told["results"]))


CLASSIFY = Question("/v1/classify", Classified)
TAG = Question("/v1/tag", Tagged)
MATCH = Question("/v1/match", Compared, pairs=True)
REGRESS = Question("/v1/regress", Valued)


class Vectors(Question[list[float]]):
    """The route of embeddings, whose results have another shape."""

    def read(self, answer: httpx.Response) -> list[list[float]]:
        """A vector per text."""
        adapter = TypeAdapter(list[list[float]])
        return read(
            answer,
            lambda told: adapter.validate_python([one["embedding"] for one in told["data"]]),
        )


EMBEDDINGS = Vectors("/v1/embeddings", list[float])


class Slices:
    """Inputs in requests of at most `most` each, fewer where the service takes no more."""

    def __init__(self, most: int) -> None:
        self.most = most

    def of(self, inputs: Iterable[T]) -> Iterator[list[T]]:
        """The inputs in slices, taken from the iterable only as they are wanted."""
        taken: list[T] = []
        for one in inputs:
            taken.append(one)
            if len(taken) >= self.most:
                yield taken
                taken = []
        if taken:
            yield taken

    def halved(self, inputs: list[T], error: ServiceError) -> list[list[T]] | None:
        """Two halves of what was too much for one request; None if that is not what was wrong.
        A limit on inputs is remembered; one on bytes may be these inputs' alone."""
        if error.said not in {"too_many_inputs", "too_large"} or len(inputs) < 2:
            return None
        middle = (len(inputs) + 1) // 2
        if error.said == "too_many_inputs":
            self.most = min(self.most, middle)
        return [inputs[:middle], inputs[middle:]]


def feedback(prediction_id: str, kind: str, value: Rating, source: str, name: str | None) -> Call:
    """The request that records what somebody says; `name` is its idempotency key, and a retry
    bears the same one."""
    body = {"prediction_id": prediction_id, "kind": kind, "value": value}
    name = name or uuid.uuid4().hex
    more = {"source": source} if source else {}
    return Call(
        "POST",
        "/v1/feedback",
        {**body, **more, "idempotency_key": name},
        idempotency_key=name if name.isascii() and name.isprintable() else None,
    )


def batch_call(inputs: Iterable[Any] | Path) -> Call:
    """The request that hands a batch over: a file of lines as it is, or inputs, which get their
    place (from 0) as their `id`."""
    if isinstance(inputs, Path):
        return Call("POST", "/v1/batches", inputs)
    lines = (
        json.dumps({"id": str(place), "input": one}, ensure_ascii=False)
        for place, one in enumerate(inputs)
    )
    return Call("POST", "/v1/batches", "".join(f"{line}\n" for line in lines).encode())


def read(answer: httpx.Response, reader: Callable[[Any], T]) -> T:
    """What `reader` makes of the answer's JSON; raises `ServiceFailed` where it is no answer of
    this API."""
    try:
        return reader(answer.json())
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ServiceFailed(
            "unreadable_answer",
            _("What {url} answered is no answer of this API.").format(url=answer.request.url),
            status=answer.status_code,
        ) from error


def read_as(shape: type[Shape], answer: httpx.Response) -> Shape:
    """The answer as one of our shapes."""
    return read(answer, shape.model_validate)


def read_models(answer: httpx.Response) -> list[ModelInfo]:
    """The models in an answer."""
    return read(answer, lambda told: [ModelInfo.model_validate(one) for one in told["data"]])


def read_batches(answer: httpx.Response) -> list[Batch]:
    """The batches in an answer."""
    return read(answer, lambda told: [Batch.model_validate(one) for one in told["data"]])


def read_line(line: str) -> BatchLine:
    """One line of a batch's results."""
    return BatchLine.model_validate_json(line)


Shape = TypeVar("Shape", bound=BaseModel)
