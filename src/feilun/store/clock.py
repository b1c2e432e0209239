"""Times and ids, made in one place."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime


def now() -> str:
    """This moment in UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def new_id(prefix: str) -> str:
    """A unique id that sorts by time: prefix, 48 bits of milliseconds, 80 random bits, in hex."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
