"""The log's retention, as `[serve.log]` says."""

from __future__ import annotations

import time
from collections.abc import Callable

from feilun.store.events.retention import Cutoffs, Purged, purge
from feilun.wheel.workspace import Workspace

_DAY_SECONDS = 86_400.0


def cutoffs(workspace: Workspace, now: float) -> Cutoffs:
    """Before when what goes, at the time `now` (seconds since 1970)."""
    log = workspace.settings.serve.log
    days = (log.input_days, log.row_days, log.feedback_days)
    return Cutoffs(*(None if day is None else now - day * _DAY_SECONDS for day in days))


def purge_log(workspace: Workspace, pause: Callable[[], None] = lambda: None) -> Purged:
    """Removes from the log what is older than `[serve.log]` allows; `pause` is called between
    two transactions, of a few hundred rows each."""
    return purge(workspace.events.database, cutoffs(workspace, time.time()), pause)
