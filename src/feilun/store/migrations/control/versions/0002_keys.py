"""Keys expire, are rotated, and are limited."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_keys"
down_revision = "0001_turns"


def upgrade() -> None:
    """New columns of `keys`; `changed` counts the changes of all keys, so that a process can see
    with one look at an index whether what it remembers is still true."""
    for column in (
        sa.Column("expires_at", sa.Text),
        sa.Column("old_hash", sa.Text),
        sa.Column("old_until", sa.Text),
        sa.Column("per_minute", sa.Integer),
        sa.Column("burst", sa.Integer),
        sa.Column("monthly", sa.Integer),
        sa.Column("monthly_cost", sa.Float),
        sa.Column("changed", sa.Integer, nullable=False, server_default="0"),
    ):
        op.add_column("keys", column)
    op.create_index("keys_by_change", "keys", ["changed"])
