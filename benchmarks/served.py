"""A process that prepares (`peers/`), on as many cores as it is given, and what it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SCRIPTS = Path(__file__).parent / "peers"
PEERS = Path(__file__).parent / ".venv-prepare" / "bin" / "python"
OFFLINE = {
    # A benchmark downloads nothing, whatever a peer would like to install or to tell.
    "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "UV_OFFLINE": "1", "PIP_NO_INDEX": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONWARNINGS": "ignore",
}  # fmt: skip
SAMPLE_SECONDS = 0.1


def cores(num: int) -> set[int]:
    """The first `num` processors that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < num:
        raise SystemExit(f"{num} cores are needed, {len(usable)} may be used")
    return set(usable[:num])


class Served:
    """`with Served("with_feilun", 2) as served: served.ask(…)`: a script of `peers/`, ready."""

    def __init__(self, script: str, num_cores: int, python: Path | str = sys.executable) -> None:
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores(num_cores))  # what is started from here inherits it
        try:
            self.process = subprocess.Popen(
                [str(python), str(SCRIPTS / f"{script}.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | OFFLINE,
                text=True,
            )
        finally:
            os.sched_setaffinity(0, mine)
        self._said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def ask(self, **task: Any) -> Any:
        """The answer to one task; the seconds it takes are the work's."""
        assert self.process.stdin is not None
        print(json.dumps(task), file=self.process.stdin, flush=True)
        return json.loads(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self._listener.join(1)
            raise SystemExit("".join(self._said[-40:]) + "a process that prepares has ended")
        return line

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._said.append(line)
            del self._said[:-40]


class Watched:
    """What a process and its children take while the block runs: peak memory of the process
    (its own mark), of the largest child, of all together at one time; and of a folder."""

    def __init__(self, process: int, folder: Path) -> None:
        self.process, self.folder = process, folder
        self.parent = self.worker = self.together = self.disk = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        Path(f"/proc/{self.process}/clear_refs").write_text("5")  # the mark starts anew
        self._thread.start()
        return self

    def __exit__(self, *given: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def figures(self) -> dict[str, float]:
        """Megabytes (10⁶ bytes)."""
        return {
            "parent_rss_mb": round(self.parent / 1e6),
            "largest_worker_rss_mb": round(self.worker / 1e6),
            "together_rss_mb": round(self.together / 1e6),
            "scratch_mb": round(self.disk / 1e6),
        }

    def _watch(self) -> None:
        turn = 0
        while not self._stop.wait(SAMPLE_SECONDS):
            self._look()
            if turn % 20 == 0:
                self._measure_folder()
            turn += 1
        self._measure_folder()

    def _look(self) -> None:
        own = memory(self.process)
        workers = [memory(child) for child in children(self.process)]
        self.parent = max(self.parent, own.get("VmHWM", 0))
        self.worker = max([self.worker, *(each.get("VmHWM", 0) for each in workers)])
        now = sum(each.get("VmRSS", 0) for each in (own, *workers))
        self.together = max(self.together, now)

    def _measure_folder(self) -> None:
        size = 0
        for path in self.folder.rglob("*"):
            try:
                size += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
        self.disk = max(self.disk, size)


def memory(process: int) -> dict[str, int]:
    """`VmRSS` and `VmHWM` in bytes; nothing of a process that is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split() for line in lines if line.startswith(("VmRSS", "VmHWM")))
    return {pair[0].rstrip(":"): int(pair[1]) * 1024 for pair in pairs}


def children(process: int) -> list[int]:
    """The processes that any thread of it has started."""
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += [int(number) for number in path.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    answer = work()
    return time.perf_counter() - start, answer
