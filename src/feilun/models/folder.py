"""A model is a folder that other tools can open, with `feilun.json` to say what it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from feilun.core.errors import Damaged
from feilun.core.i18n import _
from feilun.core.part import find
from feilun.models.family import Family, Predictor

CARD = "feilun.json"
FORMAT = 1


class NotAModel(Damaged):
    """The folder does not hold a model of ours."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            _("{folder} holds no Feilun model: {reason}.").format(folder=folder, reason=reason),
            remedy="feilun doctor",
        )


def write_card(
    folder: Path, architecture: str, labels: Sequence[str], settings: dict[str, Any]
) -> None:
    """Writes `feilun.json`: format, task, architecture, labels, signature and settings."""
    card = {
        "format": FORMAT,
        "task": "classify",
        "architecture": architecture,
        "labels": list(labels),
        "signature": {"input": "text", "output": "label, score, scores"},
        "settings": settings,
    }
    text = json.dumps(card, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def read_card(folder: Path) -> dict[str, Any]:
    """What `write_card` wrote; raises `NotAModel`."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotAModel(folder, str(error)) from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise NotAModel(folder, _("its format is not {format}").format(format=FORMAT))
    return card


def load(folder: Path) -> Predictor:
    """The half that predicts, of whatever family wrote the folder; raises `NotAModel`."""
    card = read_card(folder)
    family = cast(type[Family], find("family", card["architecture"]))
    return family.load(folder)
