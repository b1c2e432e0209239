"""A model is a folder that other tools can open, with `feilun.json` to say what it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from feilun.core.errors import Damaged, FeilunError, shortened
from feilun.core.i18n import _
from feilun.core.part import find
from feilun.models.family import Family, Predictor
from feilun.tasks import Classify, Task, task_named

CARD = "feilun.json"
FORMAT = 1


class NotAModel(Damaged):
    """The folder does not hold a model of ours."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            _("{folder} holds no Feilun model: {reason}.").format(folder=folder, reason=reason),
            remedy="feilun doctor",
        )


_INPUT = {"match": "first, second"}
_OUTPUT = {"tag": "entities", "regress": "value, interval"}
"""Of the tasks that differ from a text with labels and their scores."""


def write_card(
    folder: Path,
    architecture: str,
    labels: Sequence[str],
    settings: dict[str, Any],
    task: Task = Classify(),  # noqa: B008  # immutable
    **more: Any,
) -> None:
    """Writes `feilun.json`: format, task, architecture, labels, signature, settings, and `more`
    of what a task or family needs (JSON): `interval` for `regress`."""
    card = {
        "format": FORMAT,
        "task": task.named(),
        "architecture": architecture,
        "labels": list(labels),
        "signature": {
            "input": _INPUT.get(task.use, "text"),
            "output": _OUTPUT.get(task.use, "label, score, scores"),
        },
        "settings": settings,
        **more,
    }
    text = json.dumps(card, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def read_task(card: dict[str, Any]) -> Task:
    """The task of a card that `read_card` read: what the model answers."""
    return task_named(card.get("task", ""))


def read_card(folder: Path) -> dict[str, Any]:
    """What `write_card` wrote; raises `NotAModel`."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotAModel(folder, str(error)) from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise NotAModel(folder, _("its format is not {format}").format(format=FORMAT))
    if not isinstance(card.get("architecture"), str):
        raise NotAModel(folder, _("it does not say its architecture"))
    try:
        read_task(card)
    except (FeilunError, LookupError, TypeError, ValueError) as error:
        raise NotAModel(folder, shortened(error)) from None
    return card


def load(folder: Path) -> Predictor:
    """The half that predicts, of whatever family wrote the folder; raises `NotAModel`."""
    card = read_card(folder)
    family = cast(type[Family], find("family", card["architecture"]))
    return family.load(folder)
