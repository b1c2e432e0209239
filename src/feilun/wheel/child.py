"""A process of our own that is told what to do in one line of JSON, and tells in lines of JSON.

Nothing is pickled. It is run by the same Python, and it ends when its input does: with
its parent, however that ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

from feilun.core.errors import FeilunError
from feilun.core.i18n import language

Told = SimpleQueue[dict[str, Any] | None]
Tell = Callable[[dict[str, Any]], None]


class Child:
    """A process that runs `program`, which calls `live`; what it tells goes into `told`, a None
    at its end."""

    def __init__(
        self, program: str, setup: dict[str, Any], told: Told, environment: Mapping[str, str]
    ) -> None:
        self._process = subprocess.Popen(
            # -P: a file of the user's folder must not stand for a module of the same name.
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ
            | {
                "FEILUN_LANG": language(),
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            }
            | dict(environment),
        )
        assert self._process.stdin is not None
        print(json.dumps(setup), file=self._process.stdin, flush=True)
        threading.Thread(target=self._listen, args=(told,), daemon=True).start()

    def let_go(self) -> None:
        """Ends its input, which ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait()

    def kill(self) -> None:
        """Ends it at once; returns when it has ended."""
        self._process.kill()
        self._process.wait()
        self.let_go()

    def _listen(self, told: Told) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                told.put(json.loads(line))
        told.put(None)


def live(work: Callable[[dict[str, Any], Tell], None]) -> None:
    """The life of a child: reads what it is told, works, and tells; an error of ours is told as
    `{"error": message, "kind": …, "remedy": …}`."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    setup = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        work(setup, tell)
    except FeilunError as error:
        tell({"error": error.message, "kind": error.kind, "remedy": error.remedy})
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)
