"""How an artifact is named: `model/live`, `dataset/3`, `report/sha256:ab12…`."""

from __future__ import annotations

import re
from typing import NamedTuple

from feilun.core.errors import Invalid, nearest, shortened
from feilun.core.i18n import _

KINDS = ("records", "dataset", "model", "report")
_DIGEST = re.compile(r"sha256:[0-9a-f]{6,64}\Z")
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")


class BadRef(Invalid):
    """The text does not name an artifact."""

    def __init__(self, text: str) -> None:
        kind = text.split("/", maxsplit=1)[0]
        guess = nearest(kind, KINDS) or "model"
        super().__init__(
            _(
                "'{text}' names no artifact: write KIND/NAME, where KIND is one of {kinds} and "
                "NAME is a number, an alias such as 'live', or sha256:DIGEST."
            ).format(text=shortened(text), kinds=", ".join(KINDS)),
            remedy=f"feilun show {guess}/1",
        )


class Ref(NamedTuple):
    """A parsed name: `kind` and one of number, alias or digest (possibly a prefix) in `name`."""

    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Ref:
        """The reference in `text`; a bare kind means its newest; raises `BadRef`."""
        kind, _sep, name = text.strip().partition("/")
        name = name or "latest"
        if kind not in KINDS:
            raise BadRef(text)
        if not ((name.isascii() and name.isdigit()) or _DIGEST.match(name) or _ALIAS.match(name)):
            raise BadRef(text)
        return cls(kind, name)

    @property
    def is_digest(self) -> bool:
        return self.name.startswith("sha256:")

    @property
    def is_number(self) -> bool:
        return self.name.isdigit()

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"
