"""The lines of a batch: what one asks, and how its result is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.service.errors import InternalError, Malformed, TooLarge, content_of, ours
from feilun.service.shapes import (
    Asked,
    ClassifyRequest,
    MatchRequest,
    RegressRequest,
    TagRequest,
    Text,
)
from feilun.tasks.task import Input

REQUESTS: dict[str, type[ClassifyRequest] | type[MatchRequest]] = {
    "classify": ClassifyRequest,
    "tag": TagRequest,
    "match": MatchRequest,
    "regress": RegressRequest,
}
"""What each task's own route takes."""

_Name = Annotated[Text, Field(max_length=200)]


class OpenAILine(Asked):
    """A line as OpenAI's batches have them."""

    custom_id: _Name
    method: Literal["POST"]
    url: str
    body: Any


class Line(NamedTuple):
    """A line of a batch: its number in the file (from 1), its name, and what it asks, about whom
    (`subject`), or why it cannot be answered."""

    number: int
    name: str | None
    inputs: Sequence[Input]
    problem: FeilunError | None = None
    subject: str | None = None


def raw_lines(source: BinaryIO, longest: int) -> Iterator[tuple[int, bytes | None]]:
    """The lines with content and their numbers in the file, from 1; None in place of one of more
    than `longest` bytes, which is passed over without being held."""
    number = 0
    while piece := source.readline(longest + 1):
        number += 1
        too_long = len(piece) > longest and not piece.endswith(b"\n")
        if too_long:
            while piece and not piece.endswith(b"\n"):
                piece = source.readline(1 << 16)
            yield number, None
        elif stripped := piece.strip():
            yield number, stripped


def parse(number: int, raw: bytes | None, use: str, longest: int) -> Line:
    """What a line asks of a model of the task `use`: `{"id"?, "input"}`, or OpenAI's
    `{"custom_id", "method", "url", "body"}`. Never raises: the problem is in the line."""
    if raw is None:
        return Line(number, None, (), TooLarge(longest))
    name: str | None = None
    try:
        told = _object(raw)
        if "custom_id" in told:
            name = str(told["custom_id"])[:200]
            line = OpenAILine.model_validate(told)
            if line.url != f"/v1/{use}":
                return Line(number, name, (), Malformed(f"url: /v1/{use}"))
            name, body = line.custom_id, line.body
        else:
            body = {key: value for key, value in told.items() if key != "id"}
            if "id" in told:
                name = _Named.model_validate({"id": told["id"]}).id
        asked = REQUESTS[use].model_validate(body)
    except ValidationError as error:
        details = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        return Line(number, name, (), ours(RequestValidationError(details)))
    except FeilunError as error:
        return Line(number, name, (), error)
    return Line(number, name, asked.input, subject=asked.subject)


def answered(line: Line, content: dict[str, Any]) -> str:
    """The result of a line as a line: what its own request would have been answered."""
    response = {"status_code": 200, "request_id": content["id"], "body": content}
    return _written(line, content["id"], response, None)


def refused(line: Line) -> str:
    """The result of a line that could not be answered."""
    problem = line.problem or InternalError()
    return _written(line, None, None, content_of(problem)["error"])


class _Named(BaseModel):
    id: _Name


def _object(raw: bytes) -> dict[str, Any]:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        raise Malformed(_("it is not valid JSON")) from None
    if not isinstance(told, dict):
        raise Malformed(_("a line must be an object"))
    return told


def _written(line: Line, identity: str | None, response: Any, error: Any) -> str:
    told = {
        "id": identity,
        "custom_id": line.name,
        "line": line.number,
        "response": response,
        "error": error,
    }
    text = json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode() + "\n"
