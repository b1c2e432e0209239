"""The family `stack`: several models asked at once, each counting for what it has shown.

How much a member counts is chosen on the validation split: one member alone, all alike, or
weights that fit it best; by cross-validation within the split, so that a choice among three
does not flatter itself. Averages are of logarithms of probabilities (a product of experts:
Hinton, Training Products of Experts, 2002), for `regress` of values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import polars as pl
from pydantic import Field, SerializeAsAny
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Embedder, Estimate, Family, Lesson, Predictor
from feilun.models.folder import NotAModel, load, read_card, read_task, write_card
from feilun.models.members import MEMBERS, able, estimated, opened, trained
from feilun.models.weighing import combined, weighed
from feilun.tasks.task import Input, Scorer, Task

WEIGHTS = "model.safetensors"
LEAST = 1e-6
"""A probability no member goes below: one that is certain and wrong would silence the others."""


class NothingToStack(Invalid):
    """A stack needs two members or more."""

    def __init__(self, count: int) -> None:
        super().__init__(
            _("A stack needs at least two members; [train] model.members has {count}.").format(
                count=count
            ),
            remedy=_(
                'Set members = [{{ architecture = "ngram" }}, {{ architecture = "cnn" }}] in '
                "[train] model."
            ).format(),
        )


class Stack(Family):
    """Several families trained on the same records, their answers averaged with weights that
    the validation split chooses. It is as slow as its members together."""

    use: ClassVar[str] = "stack"
    tasks: ClassVar[tuple[str, ...]] = ("classify", "match", "regress")

    members: tuple[SerializeAsAny[Family], ...] = Field(
        (), description="the families, with their settings; in `auto` those it tried before"
    )

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        """The sum over the members that are not trained yet, each within what the ones before
        it leave of the budget."""
        members, seconds = estimated(self._able(lesson), lesson, budget_seconds, run)
        return Estimate(self.model_copy(update={"members": members}), seconds)

    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        """Trains the members that `lesson.trained` does not hold, then weighs them. Raises
        `NothingToStack`."""
        names = trained(self._able(lesson), lesson, folder, run)
        models = [cast(Scorer, load(folder / MEMBERS / name)) for name in names]
        task, validation = lesson.task, lesson.validation
        inputs = task.inputs(validation)
        asked = np.stack([_asked(_kind(task), model.scores(inputs)) for model in models])
        truth = _target(task, validation, models[0].labels)
        weights = weighed(asked, truth, _kind(task), run.seed)
        save_file({"weights": weights}, folder / WEIGHTS)
        more: dict[str, Any] = {"members": names}
        if task.use == "regress":
            values = combined(asked, weights)[:, 0]
            more["interval"] = _interval(truth[:, 0] - values)
        _write(self, lesson, folder, more)
        for name, weight in zip(names, weights.tolist(), strict=True):
            run.log(f"weight.{name}", weight)

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """All members, and what each counts; raises `NotAModel`."""
        card = read_card(folder)
        _names, members = opened(folder, card)
        places = any(hasattr(member, "embeddings") for member in members)
        return (Placing if places else Together)(folder, card, members)

    def _able(self, lesson: Lesson) -> tuple[Family, ...]:
        found = able(self.members, lesson)
        if len(found) < 2:
            raise NothingToStack(len(found))
        return found


class Together:
    """The members' answers, averaged; `labels` in the order of the columns of `scores`."""

    def __init__(self, folder: Path, card: dict[str, Any], members: Sequence[Scorer]) -> None:
        try:
            self._weights = load_file(folder / WEIGHTS)["weights"]
            low, high = card.get("interval", (0.0, 0.0))
            self.interval = (float(low), float(high))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise NotAModel(folder, str(error)) from None
        self._members = members
        self.labels = tuple(card.get("labels") or ())
        sound = len(members) > 0 and self._weights.shape == (len(members),)
        sound = sound and bool(np.isfinite(self._weights).all())
        if not sound or any(member.labels != self.labels for member in members):
            raise NotAModel(folder, _("its weights do not fit its members"))
        self._kind = _kind(read_task(card))

    def scores(self, inputs: Sequence[Input]) -> np.ndarray:
        """As `feilun.tasks.task.Scorer`; a member that knows nothing of an input is not counted
        for it."""
        asked = np.stack([_asked(self._kind, member.scores(inputs)) for member in self._members])
        found = combined(asked, self._weights)
        if self._kind == "one":
            raised = np.exp(found - found.max(axis=1, keepdims=True))
            found = raised / raised.sum(axis=1, keepdims=True)
        elif self._kind == "several":
            found = 1 / (1 + np.exp(-found))
        return found.astype(np.float32)


class Placing(Together):
    """Members of which at least one places texts in a space."""

    def embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """Those of the first member that has any."""
        places = next(member for member in self._members if hasattr(member, "embeddings"))
        return cast(Embedder, places).embeddings(texts)


def _kind(task: Task) -> str:
    if task.use == "regress":
        return "value"
    return "one" if task.exclusive else "several"


def _asked(kind: str, scores: np.ndarray) -> np.ndarray:
    """What is averaged: logarithms of probabilities, log-odds, or values, as they are."""
    wide = scores.astype(np.float64)
    if kind == "value":
        return wide
    clipped = np.clip(wide, LEAST, 1 - LEAST)
    result: np.ndarray = np.log(clipped) - (np.log1p(-clipped) if kind == "several" else 0.0)
    return result


def _target(task: Task, frame: pl.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """The right answers `[rows, columns]`: ones and zeros, or values."""
    truth = task.truth(frame)
    if task.use == "regress":
        return np.array([float(one) for one in truth], dtype=np.float64)[:, None]
    column = {label: at for at, label in enumerate(labels)}
    target = np.zeros((len(truth), len(labels)))
    for row, one in enumerate(truth):
        for label in task.counted(one):
            if label in column:
                target[row, column[label]] = 1.0
    return target


def _interval(residuals: np.ndarray) -> list[float]:
    known = residuals[np.isfinite(residuals)]
    if not len(known):
        return [0.0, 0.0]
    return [float(q) for q in np.quantile(known, [0.05, 0.95])]


def _write(stack: Stack, lesson: Lesson, folder: Path, more: dict[str, Any]) -> None:
    settings = stack.model_dump(mode="json")
    write_card(folder, stack.use, lesson.labels, settings, lesson.task, **more)
    config = {"model_type": "feilun-stack", "members": more["members"]}
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    members = "\n".join(f"- `{MEMBERS}/{name}`" for name in more["members"])
    (folder / "README.md").write_text(_CARD.format(members=members), encoding="utf-8")


_CARD = """\
---
library_name: feilun
tags: [feilun]
---

# Several models, averaged · 多个模型的加权平均

Each member is a model of its own in its folder; `model.safetensors` says how much each counts,
found on the validation split. 每个成员都是独立的模型；各自的权重由验证集确定。

## Members · 成员

{members}

## Use · 使用

```python
from pathlib import Path

from feilun.models.folder import load

load(Path(".")).scores(["…"])
```
"""
