"""The request that is being answered: its ids, and what took how long.

A request has two ids. `id` is ours: unique, that of its predictions and of what it is charged.
`shown` is what the caller sent as `X-Request-Id`, else ours: it is in the answer's header and in
every line of the log, so that one request can be followed through several services. A caller may
repeat its own, so nothing is counted by it.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

from feilun.store.clock import new_id

HEADER = "x-request-id"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._:=/+-]{1,128}")


class Asked:
    """One request: its ids, the key it came with, and its steps (name, begin and end as
    `time.perf_counter` counts them)."""

    __slots__ = ("id", "key", "shown", "steps")

    def __init__(self, given: str | None) -> None:
        self.id = new_id("r")
        well = given is not None and _WELL_FORMED.fullmatch(given)
        self.shown = given if given is not None and well else self.id
        self.key = ""
        self.steps: list[tuple[str, float, float]] = []


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


def begin(given: str | None) -> Asked:
    """The request that this task answers from now on; `given`: its header `X-Request-Id`, which
    counts if it is up to 128 letters, digits and `._:=/+-`."""
    asked = Asked(given)
    _asked.set(asked)
    return asked


def asked_now() -> Asked | None:
    """The request that is answered here and now."""
    return _asked.get()


def request_id() -> str:
    """The id of the request that is answered here and now; a new one outside of any."""
    asked = _asked.get()
    return new_id("r") if asked is None else asked.id


def step(name: str, began: float, ended: float) -> None:
    """Notes that a part of answering took from then to then (`time.perf_counter`)."""
    asked = _asked.get()
    if asked is not None:
        asked.steps.append((name, began, ended))
