"""Predictions say how they came about and how their input is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_log"
down_revision = "0001_events"


def upgrade() -> None:
    """New columns of `predictions`; see `PredictionRow`."""
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
