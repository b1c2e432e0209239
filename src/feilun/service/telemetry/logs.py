"""Logs: a line each, text or JSON, with no field that is not listed here.

Bodies, texts, keys and what an exception says are in no line. Messages of our own modules are
written so that they hold none; of other packages only a name, a level and a place in the code
are logged, for their messages may hold anything.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from feilun.service.telemetry.asked import Asked, asked_now
from feilun.stages.serve.telemetry import Telemetry

FIELDS = ("request", "request_id", "method", "route", "status", "ms", "key", "code")
"""What a line may have beside its time, level, logger and message."""
_OURS = ("feilun", "uvicorn")
_EXTRA = "feilun_fields"
log = logging.getLogger("feilun.request")


class Lines(logging.Formatter):
    """A line for each record, as JSON or as text."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        if self._as_json:
            return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        head = [fields.pop(name) for name in ("at", "level", "logger", "message")]
        more = [f"{name}={value}" for name, value in fields.items()]
        return " ".join([*head, *more])


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields = {
        "at": at,
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _message(record),
    }
    asked = asked_now()
    if asked is not None:
        fields["request"] = asked.id
        if asked.shown != asked.id:
            fields["request_id"] = asked.shown
    given: dict[str, Any] = getattr(record, _EXTRA, {})
    fields |= {name: given[name] for name in FIELDS if name in given}
    return fields


def _message(record: logging.LogRecord) -> str:
    if record.name.split(".")[0] not in _OURS:
        return f"{PurePath(record.pathname).name}:{record.lineno}"
    # One line each, whatever is in it.
    return " ".join(record.getMessage().split())


def set_up(settings: Telemetry) -> Callable[[], None]:
    """From now on this process logs to stderr as the settings say; what is returned ends that."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(as_json=settings.log == "json"))
    root, ours = logging.getLogger(), logging.getLogger("feilun")
    before = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO)

    def end() -> None:
        root.removeHandler(handler)
        ours.setLevel(before)

    return end


FAILED_PER_SECOND = 50
"""Lines of failed requests: a flood that is refused must not become one of lines."""


class RequestLog:
    """A line for each request that the settings want one of; of failed ones at most
    `FAILED_PER_SECOND`, and then how many there were beside them."""

    def __init__(self, settings: Telemetry) -> None:
        self._from = {"none": 1000, "failed": 400, "all": 0}[settings.log_requests]
        self._second = 0
        self._shown = self._left_out = 0

    def note(
        self,
        asked: Asked,
        method: str,
        route: str,
        status: int,
        seconds: float,
        code: str,
        count: int = 1,
    ) -> None:
        """Logs one request that was answered, and counts those that were answered like it; `code`
        is that of its error, or empty."""
        if status < self._from or (status >= 400 and not self._room(count)):
            return
        fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1e3, 3)}
        if asked.key:
            fields["key"] = asked.key
        if code:
            fields["code"] = code
        log.info("answered", extra={_EXTRA: fields})

    def _room(self, count: int) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            if self._left_out:
                log.info("%d more failed within a second", self._left_out)
            self._second, self._shown, self._left_out = second, 0, 0
        room = self._shown < FAILED_PER_SECOND
        self._shown += room
        self._left_out += count - room
        return room
