"""What must survive: blobs by digest, the control database, the event log."""

from feilun.store.blobs import Blobs
from feilun.store.control import Control
from feilun.store.events import EventLog

__all__ = ["Blobs", "Control", "EventLog"]
