"""A secret that settings name and never hold: `token = "env:REVIEWS_TOKEN"`."""

from __future__ import annotations

import os
import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from feilun.core.errors import Invalid, Missing
from feilun.core.i18n import _

PREFIX = "env:"
_REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


class SecretMissing(Missing):
    """A setting names an environment variable that is not set."""

    def __init__(self, variable: str) -> None:
        super().__init__(
            _("The environment variable {name}, which a setting refers to, is not set.").format(
                name=variable
            ),
            remedy=f"export {variable}=…",
        )


class SecretUnusable(Invalid):
    """A secret has characters that nobody can send, such as a line break in its middle."""

    def __init__(self, variable: str) -> None:
        super().__init__(
            _("The value of the environment variable {name} has control characters.").format(
                name=variable
            ),
            remedy=_("Set {name} again, to one line of plain text.").format(name=variable),
        )


class Secret:
    """The name of an environment variable that holds a secret.

    In `feilun.toml` it is the text `env:NAME`; anything else is refused, and the refusal does not
    repeat it. What is shown, compared, written down and fingerprinted is the name; the value is
    read from the environment at each `reveal`, and kept nowhere.
    """

    __slots__ = ("variable",)

    def __init__(self, reference: str) -> None:
        found = _REFERENCE.fullmatch(reference)
        if found is None:
            raise ValueError(
                _(
                    "settings hold no secrets: put it into an environment variable, for example "
                    "MY_SECRET, and write 'env:MY_SECRET' here"
                )
            )
        self.variable = found[1]

    def reveal(self) -> str:
        """The secret, without white space around it; raises `SecretMissing`, `SecretUnusable`."""
        value = os.environ.get(self.variable, "").strip()
        if not value:
            raise SecretMissing(self.variable)
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise SecretUnusable(self.variable)
        return value

    def __str__(self) -> str:
        return f"{PREFIX}{self.variable}"

    def __repr__(self) -> str:
        return f"Secret('{self}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.variable == self.variable

    def __hash__(self) -> int:
        return hash((Secret, self.variable))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        # One validator for every type: pydantic's own complaints would repeat the value.
        return core_schema.no_info_plain_validator_function(
            cls._read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                str, return_schema=core_schema.str_schema()
            ),
        )

    @classmethod
    def _read(cls, value: object) -> Secret:
        return value if isinstance(value, Secret) else cls(value if isinstance(value, str) else "")
