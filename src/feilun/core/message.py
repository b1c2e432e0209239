"""Sentences that are stored, and said in the language of whoever reads them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue

from feilun.core.i18n import _


class Message(BaseModel):
    """A sentence kept in no language: the English template and its values.

    What is stored in an artifact must not depend on who looked on, so it keeps messages, and
    `str()` says them in the reader's language. The template is marked with `N_` where it is
    written.
    """

    model_config = ConfigDict(frozen=True)

    template: str
    values: dict[str, JsonValue] = {}
    terms: tuple[str, ...] = ()
    """The names of the values that are words of ours, to be translated too."""

    def __str__(self) -> str:
        terms = {name: _(str(self.values[name])) for name in self.terms}
        return _(self.template).format(**{**self.values, **terms})
