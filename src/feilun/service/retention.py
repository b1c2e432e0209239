"""The log's retention while the service runs: once a day, in small steps, beside the requests."""

from __future__ import annotations

import logging
import threading
import time

from feilun.core.errors import FeilunError
from feilun.wheel.project import Project
from feilun.wheel.retention import purge_log

EVERY_SECONDS = 86_400.0
AGAIN_SECONDS = 600.0
PAUSE_SECONDS = 0.05
"""Between two transactions of a few hundred rows, so that requests come between them."""
FIRST_SECONDS = 60.0
"""After the start: what serves must be up first."""
log = logging.getLogger("feilun.service")


class Retention:
    """A thread that removes what `[serve.log]` says, `FIRST_SECONDS` after the start and then
    every day; none where nothing is to be removed."""

    def __init__(self, project: Project, first_seconds: float = FIRST_SECONDS) -> None:
        self._project = project
        self._first = first_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to look after the log."""
        kept = self._project.settings.serve.log
        if (kept.input_days, kept.row_days, kept.feedback_days) == (None, None, None):
            return
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops between two transactions."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        wait = self._first
        while not self._stop.wait(wait):
            wait = EVERY_SECONDS if self._purged() else AGAIN_SECONDS

    def _purged(self) -> bool:
        began = time.monotonic()
        try:
            gone = purge_log(self._project, self._pause)
        except _Stopped:
            return True
        except FeilunError as error:
            log.error("retention: %s; tried again later", error.code)
            return False
        log.info("retention: %s in %.1f s", gone, time.monotonic() - began)
        return True

    def _pause(self) -> None:
        if self._stop.wait(PAUSE_SECONDS):
            raise _Stopped


class _Stopped(Exception):
    """The service ends; the rest is removed when it runs again."""
