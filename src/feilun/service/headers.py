"""A request's headers, each found at once; and those that every answer has."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers as Listed
from starlette.types import Scope

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With no-referrer, browsers send `Origin: null` with our own forms, which then could not be
    # told from a stranger's.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
SECURITY = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class Headers(Listed):
    """As Starlette's, which looks through all of them for each name; of several with one name
    the first."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(raw=scope["headers"])
        self._first = dict(reversed(self.raw))

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower().encode("latin-1")].decode("latin-1")

    def __contains__(self, name: Any) -> bool:
        return str(name).lower().encode("latin-1", "replace") in self._first

    def get(self, name: str, default: Any = None) -> Any:
        value = self._first.get(name.lower().encode("latin-1"))
        return default if value is None else value.decode("latin-1")
