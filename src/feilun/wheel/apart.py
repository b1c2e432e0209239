"""Signals and weakest slices for the service, worked out in a process of its own.

They read texts by the thousand: in the service's own process the first page took 200 MB that were
never given back, and requests waited for seconds. That process takes two seconds, so pages are
given what was worked out before, while the next is on its way.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.core.message import Message
from feilun.stages.monitor import Level, Signal
from feilun.stages.monitor.slices import Slice
from feilun.wheel.child import Child, Tell, Told, live
from feilun.wheel.weakest import Shown, Weakest

if TYPE_CHECKING:
    from feilun.wheel.project import Project

_PROGRAM = "from feilun.wheel.apart import main; main()"
_NICER = 5
"""Requests come first, but somebody waits for the page."""


STALE_SECONDS = 900.0
"""Until then a page is given what is there rather than made to wait."""
T = TypeVar("T")


class Kept(Generic[T]):
    """What `work` gave last, for a while; of several who ask at once, one has it worked out."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._at = -math.inf
        self._value: T | None = None
        self._one = threading.Lock()

    def get(self, seconds: float, *, wait: bool) -> T:
        """What was worked out within the last `seconds`. If there is none: with `wait`, or where
        there is none of the last `STALE_SECONDS`, it is worked out now; else the one before is
        given, and the next begun."""
        if self._age() <= seconds and self._value is not None:
            return self._value
        if not wait and self._value is not None and self._age() <= STALE_SECONDS:
            if not self._one.locked():
                threading.Thread(target=self._renew, args=(seconds,), daemon=True).start()
            return self._value
        return self._renew(seconds)

    def _age(self) -> float:
        return time.monotonic() - self._at

    def _renew(self, seconds: float) -> T:
        with self._one:
            if self._value is None or self._age() > seconds:
                self._value, self._at = self._work(), time.monotonic()
            return self._value


class NotWorkedOut(FeilunError):
    """The process that was to work something out for a page has ended before it had."""

    def __init__(self) -> None:
        super().__init__(
            _("The signals could not be worked out."),
            remedy="feilun monitor",
        )


def signals(project: Project, hours: float | None = None) -> list[Signal]:
    """As `Project.signals`; raises `NotWorkedOut`."""
    found: list[Signal] = []
    for name, value, level, message, *rest in _asked(project, {"hours": hours})["signals"]:
        found.append(Signal(name, value, Level(level), Message.model_validate(message), *rest))
    return found


def weakest(project: Project, days: float) -> Weakest:
    """As `Project.weakest`; raises `NotWorkedOut`."""
    told = _asked(project, {"days": days})["weakest"]
    told["by_feedback"], told["by_confidence"] = map(
        _slices, (told["by_feedback"], told["by_confidence"])
    )
    return Weakest(**told)


def _slices(told: list[Any]) -> list[Shown]:
    return [
        Shown(Slice(*one)._replace(examples=tuple(one[-1])), tuple(texts)) for one, texts in told
    ]


def _asked(project: Project, what: dict[str, Any]) -> dict[str, Any]:
    told: Told = SimpleQueue()
    child = Child(_PROGRAM, {"root": str(project.root), **what}, told, {})
    answer = told.get()
    child.let_go()
    child.wait()
    if answer is None or "error" in answer:
        raise NotWorkedOut()
    return answer


def work(setup: dict[str, Any], tell: Tell) -> None:
    """What the process does: one answer."""
    from feilun.wheel.project import Project

    os.nice(_NICER)
    with Project.open(setup["root"]) as project:
        if "days" in setup:
            tell({"weakest": project.weakest(setup["days"])._asdict()})
        else:
            found = project.signals(setup["hours"])
            tell({"signals": [[*s[:3], s.message.model_dump(mode="json"), *s[4:]] for s in found]})


def main() -> None:
    """A process that works one thing out."""
    live(work)
