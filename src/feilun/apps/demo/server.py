"""The demo's service: `feilun serve` in a process of its own, as in production."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
from pathlib import Path

from feilun.core.errors import FeilunError
from feilun.core.i18n import _

START_SECONDS = 60


class ServerFailed(FeilunError):
    """The service did not come up."""

    def __init__(self, said: str) -> None:
        super().__init__(
            _("The demo's service did not start: {said}").format(said=said.strip()[-500:]),
            remedy="feilun doctor",
        )


class Server:
    """A running service; `address` and the `key` it printed."""

    def __init__(self, project: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "feilun.cli.main", "serve", "-C", str(project), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.address, self.key = self._wait()

    def stop(self) -> None:
        """Lets open requests end, then stops it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Waits until somebody stops it."""
        self._process.wait()

    def peak_rss_mb(self) -> float:
        """Its largest resident set so far, in MB (0 where the system does not tell)."""
        path = Path(f"/proc/{self._process.pid}/status")
        found = re.search(r"VmHWM:\s+(\d+) kB", path.read_text()) if path.exists() else None
        return int(found[1]) * 1024 / 1e6 if found else 0.0

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _wait(self) -> tuple[str, str]:
        said = ""
        while True:
            try:
                line = self._lines.get(timeout=START_SECONDS)
            except queue.Empty:
                line = None
            if line is None:
                self.stop()
                raise ServerFailed(said)
            said += line
            address = re.search(r"http://[\d.]+:\d+", said)
            key = re.search(r"fw_[0-9a-f]+_[0-9a-f]+", said)
            if address and key:
                return address[0], key[0]
