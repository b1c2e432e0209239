"""Where the machine's power comes from, as its owner declares it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from feilun.core.i18n import _


class Economics(BaseModel):
    """`[economics]`. Without a region no CO₂ is told: what a kilowatt-hour costs the climate
    differs twentyfold between grids, and a guess would be a number that nobody measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str | None = Field(
        None, max_length=64, description="the grid that the machine's power comes from"
    )
    co2_grams_per_kwh: float | None = Field(
        None, ge=0, le=5000, description="of that grid, as its operator or ministry publishes it"
    )

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.region is None) != (self.co2_grams_per_kwh is None):
            raise ValueError(_("region and co2_grams_per_kwh must be given together"))
        return self
