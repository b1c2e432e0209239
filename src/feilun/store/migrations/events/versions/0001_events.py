"""Predictions, feedback on them, and requests that failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_events"
down_revision = None


def upgrade() -> None:
    """Makes the first tables; `seq` gives the order in which rows became durable."""
    op.create_table(
        "predictions",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("latency_ms", sa.Float, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
    )
    op.create_index("predictions_by_time", "predictions", ["at"])
    op.create_table(
        "feedback",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("prediction", sa.Text, sa.ForeignKey("predictions.id"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text, unique=True),
        sa.Column("key", sa.Text, nullable=False),
    )
    op.create_index("feedback_by_prediction", "feedback", ["prediction"])
    op.create_table(
        "failures",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
    )
