"""Predictions say how they came about and how their input is kept; keys of the vault; erasures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_log"
down_revision = "0001_events"


def upgrade() -> None:
    """New columns of `predictions` (see `PredictionRow`) and of `feedback` (see `FeedbackRow`);
    `vault`: see `VaultKeyRow`; `erasures`: see `Receipt`."""
    for column in (
        sa.Column("route", sa.Text, nullable=False, server_default="live"),
        sa.Column("level", sa.Integer, nullable=False, server_default="0"),
        sa.Column("scores", sa.Text),
        sa.Column("characters", sa.Integer, nullable=False, server_default="0"),
        sa.Column("cost", sa.Float, nullable=False, server_default="0"),
        sa.Column("kept", sa.Text, nullable=False, server_default="full"),
        sa.Column("subject", sa.Text),
    ):
        op.add_column("predictions", column)
    for column in (
        sa.Column("kept", sa.Text, nullable=False, server_default="full"),
        sa.Column("subject", sa.Text),
        sa.Column("digest", sa.Text),
    ):
        op.add_column("feedback", column)
    # Most requests name nobody: the indexes hold only those that do.
    for table in ("predictions", "feedback"):
        op.create_index(
            f"{table}_by_subject", table, ["subject"], sqlite_where=sa.text("subject IS NOT NULL")
        )
    # What waits for a person is looked for among everything that was ever answered.
    op.create_index(
        "predictions_for_people", "predictions", ["seq"], sqlite_where=sa.text("reason = 'person'")
    )
    op.create_table(
        "vault",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index(
        "vault_by_subject", "vault", ["subject"], sqlite_where=sa.text("subject IS NOT NULL")
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
