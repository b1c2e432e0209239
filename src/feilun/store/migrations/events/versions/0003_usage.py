"""What each key used, in figures that outlive the rows they count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_usage"
down_revision = "0002_log"


def upgrade() -> None:
    """Makes `usage`, a row per key and day, with what was answered before it was there; and
    `key_uses`, when each key was last used."""
    op.create_table(
        "usage",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("predictions", sa.Integer, nullable=False),
        sa.Column("characters", sa.Integer, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("usage_by_day", "usage", ["day"])
    op.create_table(
        "key_uses",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO usage SELECT key, strftime('%Y-%m-%d', at, 'unixepoch') AS day,"
        " count(DISTINCT request), count(*), sum(length(input)), 0, 0.0"
        " FROM predictions GROUP BY key, day"
    )
