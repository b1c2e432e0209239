"""Every route of the API, a module per stage: each calls one function and formats its answer."""

from feilun.service.routes import (
    alerts,
    batches,
    chat,
    erase,
    feedback,
    mlflow,
    monitor,
    pages,
    release,
    serve,
    usage,
)
from feilun.service.routes.entry import Entry, service_of

API = (
    *serve.ENTRIES,
    *chat.ENTRIES,
    *batches.ENTRIES,
    *mlflow.ENTRIES,
    *feedback.ENTRIES,
    *erase.ENTRIES,
    *release.ENTRIES,
    *monitor.ENTRIES,
    *usage.ENTRIES,
    *alerts.ENTRIES,
)
"""The documented routes; their tags are words of the wheel."""

PAGES = pages.ENTRIES
"""Pages, which the API's documentation does not list."""

__all__ = ["API", "PAGES", "Entry", "service_of"]
