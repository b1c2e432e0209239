"""Feedback: what somebody says of a prediction, or of an exchange of the gateway."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from feilun.core.errors import Conflict, Missing, shortened
from feilun.core.i18n import _
from feilun.store.clock import new_id
from feilun.store.database import Database
from feilun.store.events.outbox import announce

FEEDBACK_KINDS = ("rating", "correction", "outcome", "comment")
_FEEDBACK = sa.text(
    "INSERT INTO feedback (id, prediction, at, kind, value, source, idempotency_key, key, kept,"
    " subject, digest) VALUES (:id, :prediction, :at, :kind, :value, :source, :idempotency_key,"
    " :key, :kept, :subject, :digest)"
)
_KNOWN = sa.text(
    "SELECT 1 FROM predictions WHERE id = :id AND route <> 'shadow'"
    " UNION ALL SELECT 1 FROM exchanges WHERE id = :id"
)


class PredictionNotFound(Missing):
    """Feedback names a prediction that was never made here."""

    def __init__(self, prediction: str) -> None:
        super().__init__(
            _("There is no prediction '{id}' in this project.").format(id=shortened(prediction)),
            remedy=_("Use an `id` from the `results` of POST /v1/classify or of feilun predict."),
        )


class IdempotencyReused(Conflict):
    """The same idempotency key came with a different request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            _("The idempotency key '{key}' was used for a different request before.").format(
                key=shortened(key)
            ),
            remedy=_("Use a new key for a new request, the same key only to repeat one."),
        )


class FeedbackRow(NamedTuple):
    """What somebody (`source`) said of a prediction; `value` is text, a number or true/false.

    `kept`: how the text of a comment is kept, as in `PredictionRow`; `subject`: the digest of the
    person it is about; `digest`: that of the value, where the value is not kept as it was.
    """

    prediction: str
    at: float
    kind: str
    value: Any
    source: str
    key: str
    idempotency_key: str | None = None
    id: str = ""
    kept: str = "full"
    subject: str | None = None
    digest: str | None = None

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them, one after the other; their ids. Raises `PredictionNotFound`,
        `IdempotencyReused`."""
        return [_insert(connection, row) for row in rows]


def _insert(connection: sa.Connection, event: FeedbackRow) -> str:
    value = json.dumps(event.value, ensure_ascii=False)
    if event.idempotency_key is not None:
        earlier = connection.execute(
            sa.text(
                "SELECT id, prediction, kind, coalesce(digest, value) AS said FROM feedback"
                " WHERE idempotency_key = :k"
            ),
            {"k": event.idempotency_key},
        ).first()
        if earlier is not None:
            said = (event.prediction, event.kind, event.digest or value)
            if (earlier.prediction, earlier.kind, earlier.said) != said:
                raise IdempotencyReused(event.idempotency_key)
            return str(earlier.id)
    known = connection.scalar(_KNOWN, {"id": event.prediction})
    if known is None:
        raise PredictionNotFound(event.prediction)
    identity = event.id or new_id("fb")
    connection.execute(_FEEDBACK, {**event._asdict(), "id": identity, "value": value})
    announce(connection, "feedback.created", identity, event.at)
    return identity


def feedback_told(database: Database, identity: str) -> dict[str, Any] | None:
    """What others are told of a feedback: never the input, nor the text of a comment; None when
    it was erased."""
    with database.read() as connection:
        row = connection.execute(
            sa.text(
                "SELECT f.id, f.prediction AS prediction_id, f.kind, f.value, f.source, p.label,"
                " p.model FROM feedback f JOIN predictions p ON p.id = f.prediction"
                " WHERE f.id = :id"
            ),
            {"id": identity},
        ).first()
    if row is None:
        return None
    value = None if row.kind == "comment" else json.loads(row.value)
    return {**row._asdict(), "value": value}
