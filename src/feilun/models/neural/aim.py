"""What a network is to answer with, which follows from the task."""

from __future__ import annotations

from typing import Literal

from feilun.tasks import Task

Aim = Literal["classes", "several", "value", "tokens"]
"""One label of several, any number of labels, a number, or a tag per token."""


def aim_of(task: Task) -> Aim:
    """What the answer to this task is made of."""
    if task.use == "tag":
        return "tokens"
    if task.use == "regress":
        return "value"
    return "several" if getattr(task, "multiple", False) else "classes"
