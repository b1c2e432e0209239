"""The loop of a process that prepares: a task in a line of JSON, the answer in another one.

Everything is imported before the first line is read; so what a caller times from its line to the
answer is the work alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def answer(work: Callable[..., Any]) -> None:
    """Calls `work` with each task's settings until the input ends."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(work(**json.loads(line))), file=answers, flush=True)
