"""Chats that were passed on to another server."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0004_exchanges"
down_revision = "0003_usage"

_BOUND = re.compile(r",\s*FOREIGN KEY\s*\(prediction\) REFERENCES predictions \(id\)")


def upgrade() -> None:
    """Makes `exchanges` (see `ExchangeRow`), and lets feedback refer to one."""
    op.create_table(
        "exchanges",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("messages", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("answer", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("streamed", sa.Boolean, nullable=False),
        sa.Column("finish", sa.Text),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("completion_tokens", sa.Integer, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("latency_ms", sa.Float, nullable=False),
        sa.Column("first_ms", sa.Float),
        sa.Column("characters", sa.Integer, nullable=False),
        sa.Column("kept", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        # A number is never given again: turns go by it.
        sqlite_autoincrement=True,
    )
    op.create_index("exchanges_by_time", "exchanges", ["at"])
    op.create_index(
        "exchanges_by_subject",
        "exchanges",
        ["subject"],
        sqlite_where=sa.text("subject IS NOT NULL"),
    )
    _unbind_feedback()


def _unbind_feedback() -> None:
    """Makes `feedback` anew, without its foreign key, which let it refer to predictions alone:
    SQLite takes no constraint away from a table that is there. What it refers to is looked up in
    the transaction that writes it (`FeedbackRow.insert`)."""
    connection = op.get_bind()
    of_table = "FROM sqlite_master WHERE tbl_name = 'feedback' AND sql IS NOT NULL AND type ="
    made = str(connection.scalar(sa.text(f"SELECT sql {of_table} 'table'")))
    indexes = list(connection.scalars(sa.text(f"SELECT sql {of_table} 'index'")))
    free, count = _BOUND.subn("", made)
    assert count == 1, made
    for statement in (
        free.replace("feedback", "feedback_free", 1),
        "INSERT INTO feedback_free SELECT * FROM feedback",
        "DROP TABLE feedback",
        "ALTER TABLE feedback_free RENAME TO feedback",
        *indexes,
    ):
        connection.exec_driver_sql(statement)
