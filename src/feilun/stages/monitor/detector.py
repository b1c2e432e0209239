"""What every detector offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from feilun.core.message import Message
from feilun.core.part import Part
from feilun.store.events import Usage

if TYPE_CHECKING:
    from feilun.stages.monitor.reference import Reference


class Level(StrEnum):
    """How loud a signal is."""

    OK = "ok"
    WARNING = "warning"


class Signal(NamedTuple):
    """One figure of the window, and whether somebody should look; `threshold` is where it turns
    loud and `detector` what found it, where that is one number and one detector."""

    name: str
    value: float
    level: Level
    message: Message
    threshold: float | None = None
    detector: str = ""


class Sample(NamedTuple):
    """Predictions drawn at random from the window, each input once.

    `texts` with their `languages` are those that could be read; `unreadable` could not (kept as a
    hash, or removed). `characters` of every input. `answers` (as written), `labels` in each and
    `scores` are of the live model alone; none where a cascade answers, whose levels each see a
    part of the inputs only. `drawn` rows were looked at, of `total`.
    """

    texts: Sequence[str] = ()
    languages: Sequence[str] = ()
    characters: Sequence[int] = ()
    answers: Sequence[str | None] = ()
    labels: Sequence[Sequence[str]] = ()
    scores: Sequence[float] = ()
    unreadable: int = 0
    drawn: int = 0
    total: int = 0


class Said(NamedTuple):
    """Feedback of a stretch of time: how many ratings, how many of them bad (below a half), how
    many answers there were, and how many of them were corrected to something else."""

    ratings: int
    bad: int
    answers: int
    corrected: int


class Window(NamedTuple):
    """What happened between `since` and `until` (seconds since 1970), and the share of each label
    in the live model's training records.

    `sample` are predictions of the window and `reference` what the live model was trained on (None
    before a release); `feedback` of the window and of the time `before` it, under the same model;
    `cost` of the answers in the project's currency. `alpha` is the false-alarm rate of each test.
    """

    since: float
    until: float
    usage: Usage
    training_shares: dict[str, float]
    sample: Sample = Sample()
    reference: Reference | None = None
    feedback: Said | None = None
    before: Said | None = None
    cost: float = 0.0
    alpha: float = 0.001


class Detector(Part):
    """Looks at a window; a `[[monitor.detectors]]` table."""

    kind: ClassVar[str] = "detector"

    def tests(self, window: Window) -> int:
        """How many tests of chance it will make: the stage shares `false_alarms_per_look` among
        them. None: its limits are no matter of chance."""
        return 0

    @abstractmethod
    def detect(self, window: Window) -> list[Signal]:
        """The signals, loud or not; tests at `window.alpha` each."""
