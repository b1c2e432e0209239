"""`feilun serve` that stores nothing, to see what storing costs: `without_log.py FOLDER PORT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Future

from feilun.service.run import serve
from feilun.store.events import Event, EventLog
from feilun.wheel.project import Project


def forget(_log: EventLog, events: Sequence[Event]) -> Future[list[str]]:
    """As `EventLog.submit`, with nothing behind it."""
    done: Future[list[str]] = Future()
    done.set_result([getattr(event, "id", "") for event in events])
    return done


if __name__ == "__main__":
    EventLog.submit = forget  # type: ignore[method-assign]
    with Project.open(sys.argv[1]) as project:
        serve(project, port=int(sys.argv[2]))
