"""Alerts: when they began, when they ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_alerts"
down_revision = "0006_batches"


def upgrade() -> None:
    """Makes the tables of alerts; see `store/events/alerts.py`."""
    op.create_table(
        "alerts",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("raised_at", sa.Float, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.Column("cleared_at", sa.Float),
        sa.Column("told_at", sa.Float),
        sa.Column("acked_at", sa.Float),
        sa.Column("acked_by", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("alerts_by_name", "alerts", ["name", "cleared_at"])
    op.create_table(
        "alert_looks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("loud", sa.Integer, nullable=False),
        sa.Column("quiet", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "silences",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("until", sa.Float, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
