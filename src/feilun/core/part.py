"""Parts: the small things a stage is made of, named in `feilun.toml` by `use`.

A part's fields are its settings. Its class is found through the entry-point group
`feilun.parts` under the name `KIND.USE` (`step.normalise`); ours register the same way as
anybody's. A field annotated with an abstract part accepts a table, and picks the class:

```toml
[[prepare.steps]]
use = "conflicts"
keep = "majority"
```
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from feilun.core.errors import Missing, nearest, shortened
from feilun.core.i18n import _

GROUP = "feilun.parts"


class Part(BaseModel):
    """Something that can be named in `feilun.toml`; immutable; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    use: ClassVar[str]
    selector: ClassVar[str] = "use"

    @model_validator(mode="wrap")
    @classmethod
    def _pick(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, dict):
            return handler(value)
        name = value.get(cls.selector)
        settings = {key: item for key, item in value.items() if key != cls.selector}
        if getattr(cls, "use", None) is not None:
            # A key that selects the very class it stands in is how we write a part down.
            return handler(settings if name == cls.use else value)
        if not isinstance(name, str):
            raise PydanticCustomError(
                "part_unnamed", "no part named", {"key": cls.selector, "known": names(cls.kind)}
            )
        if name not in names(cls.kind):
            raise PydanticCustomError(
                "part_unknown",
                "unknown part",
                {"key": cls.selector, "name": name, "known": names(cls.kind)},
            )
        found = find(cls.kind, name)
        return found.model_validate(settings)  # type: ignore[return-value]  # checked by `find`

    @model_serializer(mode="wrap")
    def _with_name(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        settings: dict[str, Any] = handler(self)
        return {self.selector: self.use, **settings}


class PartNotFound(Missing):
    """No installed package offers the part."""

    def __init__(self, kind: str, name: str) -> None:
        guess = nearest(name, names(kind))
        super().__init__(
            _("No installed package offers the part {part}.").format(
                part=shortened(f"{kind}.{name}")
            ),
            remedy=_("Did you mean {part}?").format(part=f"{kind}.{guess}")
            if guess
            else _("Install the package that brings it; known: {known}").format(
                known=", ".join(names(kind)) or "-"
            ),
        )


@cache
def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def names(kind: str) -> list[str]:
    """The names of every installed part of that kind, sorted; nothing is imported."""
    prefix = f"{kind}."
    return sorted(name.removeprefix(prefix) for name in _registered() if name.startswith(prefix))


def find(kind: str, name: str) -> type[Part]:
    """The class of the part `name`; imports its module; raises `PartNotFound`."""
    point = _registered().get(f"{kind}.{name}")
    if point is None:
        raise PartNotFound(kind, name)
    found: type[Part] = point.load()
    if not issubclass(found, Part) or found.kind != kind or found.use != name:
        raise PartNotFound(kind, name)
    return found
