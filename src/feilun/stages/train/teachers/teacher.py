"""What every teacher offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from feilun.core.artifacts import Model
from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.core.part import Part
from feilun.core.run import Run
from feilun.models import Lesson

if TYPE_CHECKING:
    import polars as pl


class TeacherDiffers(Invalid):
    """The teacher answers another question than the one that is to be learnt."""

    def __init__(self, what: str, its: Sequence[str], wanted: Sequence[str]) -> None:
        """`what` differs: the teacher has `its`, the dataset `wanted`."""
        super().__init__(
            _(
                "The teacher of [train.distil] has other {what}: {its}; the dataset: {wanted}."
            ).format(
                what=what,
                its=shortened(", ".join(its)) or "-",
                wanted=shortened(", ".join(wanted)) or "-",
            ),
            remedy=_("Name a teacher that learnt the same labels, or leave out [train.distil]."),
        )


class Opinion(NamedTuple):
    """A teacher's answer to one record.

    `written` is the answer as `feilun.tasks.task.Answer.written` writes it, None where it has
    none; `confidence` in [0, 1] how sure it is; `probabilities` of the dataset's labels, in their
    order, where it has them; `tokens` what the answer cost.
    """

    written: str | None
    confidence: float = 0.0
    probabilities: tuple[float, ...] | None = None
    tokens: int = 0


Answers = Callable[["pl.DataFrame"], list[Opinion]]
"""What a teacher says to each record of a frame (columns of `feilun.core.records.SCHEMA`)."""


class Teacher(Part):
    """Who answers the unlabelled records: `[train.distil] teacher`."""

    kind: ClassVar[str] = "teacher"
    batch: ClassVar[int] = 1024
    """Records per question; their answers are kept together."""

    def reads(self, root: Path) -> dict[str, str]:
        """The digests of files outside the store that its answers depend on, by role."""
        return {}

    def reference(self) -> str | None:
        """The model of this project that it is, such as `model/live`; None where it is none."""
        return None

    def costs(self, tokens: int) -> dict[str, float]:
        """What so many tokens cost, by what it is counted in."""
        return {}

    @abstractmethod
    def ready(self, lesson: Lesson, model: Model | None, run: Run) -> Answers:
        """The teacher, ready to answer; `model` is what `reference` names. Raises
        `TeacherDiffers` where it answers another question than the lesson's."""
