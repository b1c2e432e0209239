"""The page of the chats that the gateway passed on."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, ClassVar

from feilun.console.page import Page
from feilun.core.errors import shortened
from feilun.core.i18n import N_, _
from feilun.store.events.exchanges import (
    ANSWERED,
    BROKEN,
    CACHED,
    CANCELLED,
    FAILED,
    by_day,
    newest,
)
from feilun.wheel.project import Project

DAYS, SHOWN = 14, 25
_OUTCOMES = {
    ANSWERED: N_("answered"),
    CACHED: N_("from the cache"),
    BROKEN: N_("broken off"),
    CANCELLED: N_("cancelled"),
    FAILED: N_("failed"),
}


class GatewayPage(Page):
    """What the gateway was asked in the last days, what it cost, and the newest chats, masked."""

    use: ClassVar[str] = "gateway"
    stage: ClassVar[str] = "serve"
    title: ClassVar[str] = N_("Gateway")
    template: ClassVar[str] = '{% include "gateway.html" %}'

    def values(self, project: Project) -> dict[str, Any]:
        settings = project.settings.serve.gateway
        with project.events.database.read() as connection:
            days = by_day(connection, time.time() - DAYS * 86400)
            rows = newest(connection, SHOWN)
        return {
            "url": settings.url if settings else "",
            "days": days,
            "shown_days": DAYS,
            "rows": [_row(row) for row in rows],
        }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%d %H:%M"),
        "model": shortened(row["model"], 40),
        "text": shortened(row["text"], 120),
        "answer": shortened(row["answer"] or "", 120),
        "outcome": _(_OUTCOMES.get(row["outcome"], row["outcome"])),
        "code": row["code"],
        "tokens": row["prompt_tokens"] + row["completion_tokens"],
        "estimated": bool(row["estimated"]),
        "cost": row["cost"],
        "ms": row["latency_ms"],
    }
