"""Feedback: what somebody says of a prediction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from feilun.core.errors import Conflict, Missing, shortened
from feilun.core.i18n import _
from feilun.store.clock import new_id

FEEDBACK_KINDS = ("rating", "correction", "outcome", "comment")
_FEEDBACK = sa.text(
    "INSERT INTO feedback (id, prediction, at, kind, value, source, idempotency_key, key)"
    " VALUES (:id, :prediction, :at, :kind, :value, :source, :idempotency_key, :key)"
)


class PredictionNotFound(Missing):
    """Feedback names a prediction that was never made here."""

    def __init__(self, prediction: str) -> None:
        super().__init__(
            _("There is no prediction '{id}' in this project.").format(id=shortened(prediction)),
            remedy=_("Use an `id` from the `results` of POST /v1/classify or of feilun predict."),
        )


class IdempotencyReused(Conflict):
    """The same idempotency key came with different feedback."""

    def __init__(self, key: str) -> None:
        super().__init__(
            _("The idempotency key '{key}' was used for different feedback before.").format(
                key=shortened(key)
            ),
            remedy=_("Use a new key for new feedback, the same key only to repeat a request."),
        )


class FeedbackRow(NamedTuple):
    """What somebody (`source`) said of a prediction; `value` is text, a number or true/false."""

    prediction: str
    at: float
    kind: str
    value: Any
    source: str
    key: str
    idempotency_key: str | None = None
    id: str = ""

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them, one after the other; their ids. Raises `PredictionNotFound`,
        `IdempotencyReused`."""
        return [_insert(connection, row) for row in rows]


def _insert(connection: sa.Connection, event: FeedbackRow) -> str:
    value = json.dumps(event.value, ensure_ascii=False)
    if event.idempotency_key is not None:
        earlier = connection.execute(
            sa.text("SELECT id, prediction, kind, value FROM feedback WHERE idempotency_key = :k"),
            {"k": event.idempotency_key},
        ).first()
        if earlier is not None:
            if (earlier.prediction, earlier.kind, earlier.value) != (
                event.prediction,
                event.kind,
                value,
            ):
                raise IdempotencyReused(event.idempotency_key)
            return str(earlier.id)
    known = connection.scalar(
        sa.text("SELECT 1 FROM predictions WHERE id = :id"), {"id": event.prediction}
    )
    if known is None:
        raise PredictionNotFound(event.prediction)
    identity = event.id or new_id("fb")
    connection.execute(_FEEDBACK, {**event._asdict(), "id": identity, "value": value})
    return identity
