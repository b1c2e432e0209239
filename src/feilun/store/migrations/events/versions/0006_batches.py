"""Batches of inputs, and answers that a repeated request gets again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_batches"
down_revision = "0005_outbox"


def upgrade() -> None:
    """Makes `answers`: what was answered to a request that named itself."""
    op.create_table(
        "answers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("answers_by_time", "answers", ["at"])
    _batches()


def _batches() -> None:
    """Makes `batches` and `batch_results`; see `Batch` and `BatchPiece`."""
    op.create_table(
        "batches",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("lines", sa.Integer, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("errors", sa.Integer, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("ended", sa.Float),
    )
    op.create_index("batches_of_key", "batches", ["key", "at"])
    op.create_index("batches_in_state", "batches", ["state", "at"])
    op.create_table(
        "batch_results",
        sa.Column("batch", sa.Text, primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
