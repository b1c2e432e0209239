"""What must survive: blobs by digest, the control database, the event log.

The databases are imported when they are asked for: a worker of `prepare` only writes files, and
SQLAlchemy takes an eighth of a second.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feilun.store.blobs import Blobs
    from feilun.store.control import Control
    from feilun.store.events import EventLog

_MODULES = {"Blobs": "blobs", "Control": "control", "EventLog": "events"}

__all__ = ["Blobs", "Control", "EventLog"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
