"""Whether what is known of the texts, column by column, is as in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from feilun.core.i18n import N_
from feilun.stages.monitor import told
from feilun.stages.monitor.detector import Detector, Signal, Window

_NAMES = {"characters": N_("length"), "language": N_("language")}


class Columns(Detector):
    """The population stability index of each column against training: the length in characters,
    in 16 bins of equal shares, and the language."""

    use: ClassVar[str] = "columns"

    columns: tuple[Literal["characters", "language"], ...] = Field(
        ("characters", "language"), description="what is compared"
    )

    def tests(self, window: Window) -> int:
        return sum(
            told.column(window, name, _values(window, name)) is not None for name in self.columns
        )

    def detect(self, window: Window) -> list[Signal]:
        template = N_(
            "{column}: stability index {value:.3f} against training; the threshold is "
            "{threshold:.3f}"
        )
        signals = []
        for name in self.columns:
            found = told.compared(window, name, _values(window, name))
            if found is not None:
                made = told.signal(self.use, f"column.{name}", found, template, column=_NAMES[name])
                said = made.message.model_copy(update={"terms": ("column",)})
                signals.append(made._replace(message=said))
        return signals


def _values(window: Window, name: str) -> Sequence[Any]:
    if name == "characters":
        return window.sample.characters
    return [(language,) for language in window.sample.languages]
