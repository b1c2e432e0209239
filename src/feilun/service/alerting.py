"""Looks at the signals every few minutes, so that somebody is told who does not look."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from feilun.core.errors import FeilunError
from feilun.wheel import alerts
from feilun.wheel.project import Project

FIRST_SECONDS = 15.0
"""After the start: the service answers first, and looks then."""
LONGEST_SECONDS = 600.0
"""Of one look; one that takes longer is given up."""
log = logging.getLogger("feilun.service")


class Watch:
    """The thread that has somebody look, each time in a process of its own (see
    `wheel/looking.py`); of several services of one project, one looks at a time."""

    def __init__(
        self, project: Project, counted: Callable[[int], None] = lambda _open: None
    ) -> None:
        self._project = project
        self._counted = counted
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._seconds = project.settings.monitor.alerts.every_minutes * 60.0

    def start(self) -> None:
        """Begins to look; once is enough."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="alerts", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends; a look that is being taken now is given up, and counts as if it never began."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """One look, unless another process has just looked; what it raises is logged."""
        try:
            change = self._looked()
            self._counted(alerts.alerts(self._project).count())
        except (OSError, ValueError, FeilunError) as error:
            code = error.code if isinstance(error, FeilunError) else type(error).__name__
            log.warning("the signals could not be looked at: %s", code)
            return
        for name in change.get("raised", ()):
            log.warning("alert raised: %s", name)
        for name in change.get("cleared", ()):
            log.warning("alert cleared: %s", name)

    def _looked(self) -> dict[str, list[str]]:
        """The names of the alerts that a look raised and cleared; raises `ChildProcessError`."""
        # A look that came a little early must not make this process skip every second one.
        words = [str(self._project.root), str(self._seconds * 0.5)]
        command = [sys.executable, "-P", "-m", "feilun.wheel.looking", *words]
        deadline = time.monotonic() + LONGEST_SECONDS
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for the service, which gives the look up.
            start_new_session=True,
        ) as process:
            while process.poll() is None:
                if self._stop.wait(0.1) or time.monotonic() > deadline:
                    process.kill()
            told = process.stdout.read() if process.stdout is not None else b""
        # A supervisor tells both processes to end, and the look may be gone before the service
        # has begun to close.
        if self._stop.is_set() or process.returncode == -signal.SIGTERM:
            return {}
        if process.returncode:
            raise ChildProcessError
        found: dict[str, list[str]] = json.loads(told)
        return found

    def _watch(self) -> None:
        wait = min(FIRST_SECONDS, self._seconds)
        while not self._stop.wait(wait):
            self.look()
            wait = self._seconds
