"""The family `cascade`: the cheapest model that is sure enough answers, the rest goes on.

When a level is sure enough is found on the validation split by conformal risk control
(`feilun.models.conformal`), in two ways. Where the last level answers whatever is left, an
answer does harm when it is wrong and the last level's would be right: so the cascade errs, in
expectation, by at most `risk` more than the last level alone. Where what no level is sure of goes
to somebody else (`[serve] cascade`), every wrong answer does harm: at most a share `risk` of all
texts is answered wrong here. With several thresholds each has an equal part of the risk, and the
sum holds by the union bound.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from pydantic import Field, SerializeAsAny
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.conformal import ALWAYS, NEVER, threshold
from feilun.models.family import Embedder, Estimate, Family, Lesson, Predictor
from feilun.models.folder import NotAModel, load, read_card, read_task, write_card
from feilun.models.levels import Levelled, Ready, Routed
from feilun.models.members import MEMBERS, able, estimated, opened, trained
from feilun.models.ngram import Ngram
from feilun.models.transformer import Transformer
from feilun.tasks.task import Input, Scorer, Task

THRESHOLDS = "model.safetensors"
FOLLOWED, ENDING = "followed", "ending"
"""The thresholds where somebody else follows, and where the last level ends the cascade."""
MARGIN = 1e-6
"""Added to each threshold: a network's figures differ in their last bits with what stands beside
a text in the batch, and the text that set the threshold must not slip through for that."""


class NothingToCascade(Invalid):
    """None of the members can do the task."""

    def __init__(self, task: str) -> None:
        super().__init__(
            _("No member of [train] model.members can do the task '{task}' here.").format(
                task=task
            ),
            remedy=_(
                'Set members = [{{ architecture = "ngram" }}, {{ architecture = "transformer" }}] '
                "in [train] model."
            ).format(),
        )


class Cascade(Family):
    """Several families trained on the same records, the cheapest first: each text is answered by
    the first that is sure enough, so that most texts cost what the cheapest costs."""

    use: ClassVar[str] = "cascade"
    tasks: ClassVar[tuple[str, ...]] = ("classify", "match")

    members: tuple[SerializeAsAny[Family], ...] = Field(
        (Ngram(), Transformer()),
        min_length=1,
        description="the families, with their settings, the cheapest first",
    )
    risk: float = Field(
        0.02,
        gt=0,
        lt=1,
        description="by how much the share of errors may exceed that of the last member alone; "
        "with a level after it in [serve] cascade: the share of texts answered wrong here",
    )

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        """The sum over the members, each within what the ones before it leave of the budget."""
        members, seconds = estimated(self._able(lesson), lesson, budget_seconds, run)
        return Estimate(self.model_copy(update={"members": members}), seconds)

    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        """Trains the members that `lesson.trained` does not hold, then finds the thresholds on
        the validation split. Raises `NothingToCascade`."""
        names = trained(self._able(lesson), lesson, folder, run)
        models = [cast(Scorer, load(folder / MEMBERS / name)) for name in names]
        inputs, truth = lesson.task.inputs(lesson.validation), lesson.task.truth(lesson.validation)
        figures = [model.scores(inputs) for model in models]
        sure = [_confidence(lesson.task, one) for one in figures]
        right = [_right(lesson.task, models[0].labels, one, inputs, truth) for one in figures]
        found = _thresholds(sure, right, self.risk)
        save_file(found, folder / THRESHOLDS)
        _write(self, lesson, folder, names)
        left = np.ones(len(truth), dtype=bool)
        for at, (name, lowest) in enumerate(zip(names, found[ENDING].tolist(), strict=True)):
            mine = left & (sure[at] > lowest) if at < len(names) - 1 else left
            left = left & ~mine
            share = float(mine.mean()) if len(mine) else 0.0
            run.log(f"share.{name}", share)
            run.say(
                _("{name} answers {share:.1%} of the validation texts.").format(
                    name=name, share=share
                )
            )

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """All members, and from which confidence on each answers; raises `NotAModel`."""
        card = read_card(folder)
        names, members = opened(folder, card)
        places = any(hasattr(member, "embeddings") for member in members)
        return (Placing if places else Levels)(folder, card, names, members)

    def _able(self, lesson: Lesson) -> tuple[Family, ...]:
        found = able(self.members, lesson)
        if not found:
            raise NothingToCascade(lesson.task.use)
        return found


class Levels(Levelled):
    """The members in their order, each with its thresholds."""

    def __init__(
        self, folder: Path, card: dict[str, Any], names: Sequence[str], members: Sequence[Scorer]
    ) -> None:
        try:
            found = load_file(folder / THRESHOLDS)
            self._thresholds = {True: found[FOLLOWED], False: found[ENDING]}
        except (OSError, SafetensorError, KeyError) as error:
            raise NotAModel(folder, str(error)) from None
        self.names = tuple(names)
        self.labels = tuple(card.get("labels") or ())
        self._members = list(members)
        self._task = read_task(card)
        sound = len(members) > 0 and all(
            one.shape == (len(members),) and not np.isnan(one).any()
            for one in self._thresholds.values()
        )
        if not sound or any(member.labels != self.labels for member in members):
            raise NotAModel(folder, _("its thresholds do not fit its members"))

    def scores(self, inputs: Sequence[Input]) -> np.ndarray:
        """As `feilun.tasks.task.Scorer`; the last member answers whatever is left."""
        return self.routed(inputs).scores

    def routed(self, inputs: Sequence[Input], *, leaves: bool = False) -> Routed:
        """See `Levelled.routed`; what a member knows nothing of goes on."""
        figures = np.full((len(inputs), len(self.labels)), np.nan, dtype=np.float32)
        levels = np.full(len(inputs), self.depth, dtype=np.int64)
        left = np.arange(len(inputs))
        seconds = np.zeros(len(inputs))
        for level, member in enumerate(self._members):
            lowest, last = float(self._thresholds[leaves][level]), level == self.depth - 1
            if not len(left) or (lowest == NEVER and not last):
                continue
            started = time.perf_counter()
            every = len(left) == len(inputs)
            found = member.scores(inputs if every else [inputs[int(at)] for at in left])
            seconds[left] += (time.perf_counter() - started) / len(left)
            answered = _confidence(self._task, found) > lowest
            if last and not leaves:
                answered[:] = True
            figures[left] = found
            levels[left[answered]] = level
            left = left[~answered]
        return Routed(figures, levels, seconds)

    def last(self, inputs: Sequence[Input]) -> np.ndarray:
        """See `Levelled.last`."""
        return self._members[-1].scores(inputs)


class Placing(Levels):
    """Levels of which at least one places texts in a space."""

    def embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """Those of the last member that has any: the best of them."""
        places = [member for member in self._members if hasattr(member, "embeddings")]
        return cast(Embedder, places[-1]).embeddings(texts)


def _confidence(task: Task, figures: np.ndarray) -> np.ndarray:
    """The probability that the whole answer is right, float64 `[rows]`; NaN without an answer."""
    wide = figures.astype(np.float64)
    if task.exclusive:
        found: np.ndarray = wide.max(axis=1)
    else:
        found = np.where(np.isnan(wide), np.nan, np.maximum(wide, 1 - wide)).prod(axis=1)
    return found


def _right(
    task: Task,
    labels: tuple[str, ...],
    figures: np.ndarray,
    inputs: Sequence[Input],
    truth: Sequence[str],
) -> np.ndarray:
    answers = task.answers(Ready(labels, figures), inputs)
    return np.array([a.written == t for a, t in zip(answers, truth, strict=True)], dtype=bool)


def _thresholds(
    sure: Sequence[np.ndarray], right: Sequence[np.ndarray], risk: float
) -> dict[str, np.ndarray]:
    """From which confidence on each member answers, float64 `[members]`, in both ways."""
    depth = len(sure)
    followed = [threshold(s, ~r, risk / depth) for s, r in zip(sure, right, strict=True)]
    ending = [
        threshold(s, ~r & right[-1], risk / (depth - 1))
        for s, r in zip(sure[:-1], right[:-1], strict=True)
    ]
    return {
        FOLLOWED: np.array(followed) + MARGIN,
        ENDING: np.array([*ending, ALWAYS]) + MARGIN,
    }


def _write(cascade: Cascade, lesson: Lesson, folder: Path, names: list[str]) -> None:
    settings = cascade.model_dump(mode="json")
    write_card(folder, cascade.use, lesson.labels, settings, lesson.task, members=names)
    config = {"model_type": "feilun-cascade", "members": names}
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    members = "\n".join(f"- `{MEMBERS}/{name}`" for name in names)
    card = _CARD.format(members=members, risk=cascade.risk)
    (folder / "README.md").write_text(card, encoding="utf-8")


_CARD = """\
---
library_name: feilun
tags: [feilun]
---

# A cascade: the cheapest model that is sure enough answers · 级联：足够有把握的最便宜模型作答

Each member is a model of its own in its folder, the cheapest first; `model.safetensors` says from
which confidence on each answers, found on the validation split by conformal risk control for a
risk of {risk}. 每个成员都是独立的模型，由便宜到昂贵；作答所需的置信度由验证集按共形风险控制确定。

## Members · 成员

{members}

## Use · 使用

```python
from pathlib import Path

from feilun.models.folder import load

load(Path(".")).scores(["…"])
```
"""
