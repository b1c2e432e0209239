"""Turns, their steps, artifacts, and what each alias pointed to when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_turns"
down_revision = None


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "turns",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("until", sa.Text, nullable=False),
        sa.Column("events_through", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Text),
        sa.Column("verdict", sa.Text),
        sa.Column("error", sa.Text),
    )
    op.create_table(
        "artifacts",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("cost", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.UniqueConstraint("kind", "number"),
    )
    op.create_table(
        "fingerprints",
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, sa.ForeignKey("artifacts.digest"), nullable=False),
    )
    op.create_table(
        "steps",
        sa.Column("turn", sa.Integer, sa.ForeignKey("turns.number"), primary_key=True),
        sa.Column("stage", sa.Text, primary_key=True),
        sa.Column("artifact", sa.Text, sa.ForeignKey("artifacts.digest")),
        sa.Column("reused", sa.Boolean, nullable=False),
        sa.Column("cost", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Text, nullable=False),
    )
    op.create_table(
        "aliases",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, sa.ForeignKey("artifacts.digest"), nullable=False),
        sa.Column("turn", sa.Integer),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )
    op.create_index("aliases_by_name", "aliases", ["name", "seq"])
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Text),
    )
