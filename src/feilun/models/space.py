"""The space that tuning searches: which settings of a family, and what each may be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from feilun.core.config import explain
from feilun.core.errors import Invalid, nearest, shortened
from feilun.core.i18n import _

if TYPE_CHECKING:
    from feilun.models.family import Family


class BadSpace(Invalid):
    """The space to search does not fit the family's settings; all mistakes are told at once."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__(
            _("[train.tune] space has {count} mistake(s):").format(count=len(mistakes))
            + "\n"
            + "\n".join(f"  {mistake}" for mistake in mistakes),
            remedy=_("Edit space under [train.tune] in feilun.toml, then run: feilun tune"),
        )


class Axis(BaseModel):
    """What one setting may be: a list of values, or the numbers from `low` to `high`, both
    among them. `log`: tried evenly in the logarithm; `step`: only low, low + step, …"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[Any, ...] | None = Field(None, min_length=1, description="one of these")
    low: float | None = Field(None, allow_inf_nan=False, description="the lowest")
    high: float | None = Field(None, allow_inf_nan=False, description="the highest")
    step: float | None = Field(None, gt=0, allow_inf_nan=False, description="from one to the next")
    log: bool = Field(False, description="evenly in the logarithm")

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return {"values": value} if isinstance(value, (list, tuple)) else value

    @model_serializer
    def _short(self) -> Any:
        if self.values is not None:
            return list(self.values)
        written = {"low": self.low, "high": self.high, "step": self.step, "log": self.log or None}
        return {name: value for name, value in written.items() if value is not None}

    @model_validator(mode="after")
    def _either(self) -> Self:
        ranged = self.low is not None and self.high is not None
        if ranged == (self.values is not None) or (self.values is not None and self._more()):
            raise ValueError(_("must be a list of values, or a table with low and high"))
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(_("low must be below high"))
            if self.log and self.low <= 0:
                raise ValueError(_("with log, low must be above 0"))
            if self.log and self.step is not None:
                raise ValueError(_("log and step exclude each other"))
        return self

    def _more(self) -> bool:
        return any(v is not None for v in (self.low, self.high, self.step)) or self.log

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values, or the two ends."""
        return self.values if self.values is not None else (self.low, self.high)


Space = Mapping[str, Axis]
"""By the name of the setting, dotted where it lies within another (`members.0.cost`)."""


class Spot(NamedTuple):
    """A setting where it stands: the part it belongs to, and its name."""

    part: BaseModel
    name: str

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers."""
        return self.numbers is int

    @property
    def numbers(self) -> type | None:
        """int or float where it is a number, else None."""
        kinds = _kinds(type(self.part).model_fields[self.name].annotation)
        return next((kind for kind in (float, int) if kind in kinds), None)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def spot(family: Family, key: str) -> Spot:
    """Where the setting `key` stands; raises `LookupError` with the reason."""
    *path, name = key.split(".")
    here: Any = family
    for step in path:
        if isinstance(here, BaseModel):
            here = getattr(here, _known(here, step))
        elif isinstance(here, (tuple, list)) and step.isdigit() and int(step) < len(here):
            here = here[int(step)]
        else:
            raise LookupError(_("there is nothing named '{name}' in it").format(name=step))
    if not isinstance(here, BaseModel):
        raise LookupError(_("there is nothing named '{name}' in it").format(name=name))
    return Spot(here, _known(here, name))


def _known(part: BaseModel, name: str) -> str:
    known = list(type(part).model_fields)
    if name in known:
        return name
    guess = nearest(name, known)
    if guess:
        raise LookupError(_("unknown key; did you mean '{guess}'?").format(guess=guess))
    raise LookupError(
        _("unknown key; known here: {known}").format(known=", ".join(sorted(known)) or "-")
    )


def check(space: Space, family: Family) -> None:
    """Raises `BadSpace` unless every key is a setting of `family`, and every value (both ends
    of a range) within that setting's own limits."""
    mistakes = [
        f"{shortened(key)}: {reason}"
        for key, axis in space.items()
        for reason in _mistakes(key, axis, family)
    ]
    if mistakes:
        raise BadSpace(mistakes)


def _mistakes(key: str, axis: Axis, family: Family) -> list[str]:
    try:
        found = spot(family, key)
    except LookupError as error:
        return [str(error.args[0])]
    if axis.values is None:
        if found.numbers is None:
            return [_('is no number: list its values, such as ["a", "b"]')]
        numbers = (axis.low, axis.high, axis.step) if found.whole else ()
        broken = [n for n in numbers if n is not None and n != int(n)]
        if broken:
            return [_("must be a whole number, not {value}").format(value=n) for n in broken]
    field = type(found.part).model_fields[found.name]
    limited: Any = Annotated[(field.annotation, *field.metadata, Field())]
    adapter: TypeAdapter[Any] = TypeAdapter(limited)
    reasons: list[str] = []
    for value in axis.ends:
        try:
            adapter.validate_python(int(value) if found.whole and axis.values is None else value)
        except ValidationError as error:
            for detail in error.errors():
                reason = explain(detail, type(found.part), {})
                reasons += [reason] if reason not in reasons else []
    return reasons


def chosen(axis: Axis, found: Spot, drawn: float | int | str) -> Any:
    """The value of a setting from what was drawn: numbers are rounded to what a person would
    write (three digits; six on a grid), so the winner's file says exactly what was tried."""
    if axis.values is not None:
        return json.loads(str(drawn))
    if found.whole:
        return int(drawn)
    assert axis.low is not None
    assert axis.high is not None
    rounded = float(f"{float(drawn):.{3 if axis.step is None else 6}g}")
    return min(max(rounded, axis.low), axis.high)


def with_settings(family: Family, settings: Mapping[str, Any]) -> Family:
    """The family with these settings (dotted keys) in place of its own; raises pydantic's
    `ValidationError` where they do not go together."""
    return type(family).model_validate(placed(family.model_dump(mode="json"), settings))


def placed(written: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`written` with the settings (dotted keys) put in; it is changed."""
    for key, value in settings.items():
        *path, name = key.split(".")
        here: Any = written
        for step in path:
            here = here[int(step)] if isinstance(here, list) else here.setdefault(step, {})
        here[name] = value
    return written
