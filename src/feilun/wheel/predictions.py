"""Predictions by the live model, and what people say of them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from feilun.core.errors import Invalid, Missing, shortened
from feilun.core.i18n import _
from feilun.models.levels import Levelled, Ready
from feilun.store.clock import new_id
from feilun.store.events import FEEDBACK_KINDS, FeedbackRow, PredictionRow, storable
from feilun.tasks import Answer, jsonable, task_named, written_scores
from feilun.tasks.task import Input, num_characters

if TYPE_CHECKING:
    from feilun.wheel.project import Project

LOCAL_KEY = "local"
"""The key of what was asked on this machine, without the service."""


class NothingLive(Missing):
    """No model has been released yet."""

    def __init__(self) -> None:
        super().__init__(_("No model is live yet."), remedy="feilun turn")


class BadFeedback(Invalid):
    """The feedback's value does not fit its kind."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            remedy="feilun feedback add PREDICTION_ID correction LABEL",
        )


class Answered(NamedTuple):
    """An answer of the live model with the id that feedback refers to (empty when it was not
    logged); what the answer holds beside the following is up to the task."""

    id: str
    answer: Answer

    @property
    def label(self) -> str | None:
        """The answer as a text; None where there was nothing to judge by."""
        return self.answer.written

    @property
    def score(self) -> float:
        """How sure the model is, in [0, 1]."""
        return self.answer.score

    @property
    def scores(self) -> dict[str, float]:
        """The probability of each label, where the task has them."""
        return dict(getattr(self.answer, "scores", {}))

    @property
    def reason(self) -> str | None:
        """Why there is no answer: `empty` or `unknown`."""
        return self.answer.reason

    def shown(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {"id": self.id, **jsonable(self.answer)}


def predict(
    project: Project, inputs: Sequence[Input], log: bool, subject: str | None = None
) -> list[Answered]:
    """See `Project.predict`."""
    release = project.release
    if release is None:
        raise NothingLive()
    started = time.perf_counter()
    task = task_named(release.model.task)
    inputs = task.checked(inputs)
    model = project.predictor(release.model)
    route, levels = "live", [0] * len(inputs)
    if isinstance(model, Levelled):
        routed = model.routed(inputs)
        route, levels = "cascade", routed.levels.tolist()
        answers = task.answers(Ready(model.labels, routed.scores), inputs)
    else:
        answers = task.answers(model, inputs)
    if not log:
        return [Answered("", answer) for answer in answers]
    latency = (time.perf_counter() - started) * 1000
    request, at = new_id("r"), time.time()
    whom = project.privacy.digest(subject) if subject else None
    rows = [
        PredictionRow(
            new_id("p"), request, at, release.model.digest, storable(task.written_input(given)),
            answer.written, answer.score, answer.reason, latency, LOCAL_KEY, route, level,
            written_scores(answer), characters=num_characters(given), subject=whom,
        )
        for given, answer, level in zip(inputs, answers, levels, strict=True)
    ]  # fmt: skip
    ids = project.events.record(rows)
    return [Answered(i, answer) for i, answer in zip(ids, answers, strict=True)]


def feedback_row(prediction_id: str, kind: str, value: Any, source: str, key: str) -> FeedbackRow:
    """A feedback ready to be recorded; raises `BadFeedback` where the value does not fit."""
    if kind not in FEEDBACK_KINDS:
        raise BadFeedback(
            _("kind must be one of {known}, not '{kind}'.").format(
                known=", ".join(FEEDBACK_KINDS), kind=shortened(kind)
            )
        )
    number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if kind == "rating" and not (number and 0 <= value <= 1):
        raise BadFeedback(_("A rating is true, false or a number from 0 to 1."))
    text = isinstance(value, str) and 0 < len(value.strip()) <= 10_000
    if kind in {"correction", "comment"} and not text:
        raise BadFeedback(_("A {kind} is text of 1 to 10000 characters.").format(kind=kind))
    if kind == "outcome" and not (text or number):
        raise BadFeedback(_("An outcome is text, a number, true or false."))
    if isinstance(value, str):
        value = storable(value)
    return FeedbackRow(storable(prediction_id), time.time(), kind, value, storable(source), key)
