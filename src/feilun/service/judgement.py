"""Whether a model that has just gone live is broken, judged by the model before it.

Errors, slowness, and answers that say nothing any more are told apart. How the answers are judged:
both models answer the same different texts, so that traffic which changes with the hour changes
nothing. After 50, 100, 200, 400 and 800 of them the Wilson score intervals of two shares are
looked at: of texts without an answer, and of texts with the commonest answer. Each end of an
interval is at a chance of `false_alarms` / 20, so that all of them together are wrong with at most
`false_alarms` (Bonferroni).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from statistics import NormalDist, median
from typing import NamedTuple

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.monitor.label_shares import wilson
from feilun.stages.serve.bake import Bake
from feilun.tasks.task import Input

LOOKS = (50, 100, 200, 400, 800)
"""Different texts after which the answers are looked at."""
NEARLY_ALL = 0.9
"""Share of one answer from which on it is given to nearly everything."""
PACES, FEWEST_PACES = 21, 5
"""Batches whose median time counts, and the fewest: one that the machine held up says nothing."""
_ENDS = len(LOOKS) * 2 * 2
ERRORS, SLOW, ANSWERS, UNFIT = "errors", "slow", "answers", "unfit"


class Fault(NamedTuple):
    """What is wrong with a model: a word of few for the metrics, and a sentence about it."""

    cause: str
    template: str
    values: dict[str, float | str]

    def reason(self, model: str) -> Message:
        """Why the model with that digest is rolled back."""
        short = model.removeprefix("sha256:")[:12]
        return Message(template=self.template, values={**self.values, "model": short})


class Judge:
    """What is known of a new model and the one before it, and what follows from it.

    Made for one watch; not thread-safe.
    """

    def __init__(self, settings: Bake) -> None:
        self._settings = settings
        self._z = NormalDist().inv_cdf(1 - settings.false_alarms / _ENDS)
        self._paces: deque[float] = deque(maxlen=PACES)
        self._before_seconds, self._before_texts = 0.0, 0
        self._new: dict[Input, str | None] = {}
        self._before: dict[Input, str | None] = {}
        self._looks = list(LOOKS)
        self._answers: Fault | None = None

    @property
    def compared(self) -> int:
        """How many different texts both have answered."""
        return len(self._new)

    @property
    def satisfied(self) -> bool:
        """Whether more answers would change nothing."""
        return not self._looks

    @property
    def slowest(self) -> float:
        """The seconds that the new model may take for a text."""
        before = self._before_seconds / max(self._before_texts, 1)
        return max(self._settings.slow_ms / 1000, self._settings.slow_factor * before)

    def paced(self, seconds: float) -> None:
        """The new model took so long for each text of a batch."""
        self._paces.append(seconds)

    def compare(
        self,
        inputs: Sequence[Input],
        new: Sequence[str | None],
        before: Sequence[str | None],
        seconds: float,
    ) -> None:
        """Both models' answers to `inputs`, as they are written; the one before took `seconds`
        for all of them. A text counts the first time only."""
        self._before_seconds += seconds
        self._before_texts += len(inputs)
        for given, one, other in zip(inputs, new, before, strict=True):
            if self._looks and given not in self._new:
                self._new[given], self._before[given] = one, other
                if len(self._new) == self._looks[0]:
                    self._looks.pop(0)
                    self._answers = self._answers or self._looked()

    def fault(self, requests: int, failed: int) -> Fault | None:
        """What is wrong, if anything is: `failed` of the new model's `requests` were answered by
        the one before alone."""
        return self._errors(requests, failed) or self._slow() or self._answers

    def _errors(self, requests: int, failed: int) -> Fault | None:
        settings = self._settings
        if failed < settings.errors or failed <= settings.error_share * requests:
            return None
        template = N_(
            "rolled back from {model}: it failed at {failed} of {requests} requests, at which the "
            "model before did not"
        )
        return Fault(ERRORS, template, {"failed": failed, "requests": requests})

    def _slow(self) -> Fault | None:
        if len(self._paces) < FEWEST_PACES or not self._before_texts:
            return None
        pace = median(self._paces)
        if pace <= self.slowest:
            return None
        before = self._before_seconds / self._before_texts
        template = N_(
            "rolled back from {model}: it took {ms:.0f} ms for a text, the model before "
            "{before:.1f} ms"
        )
        return Fault(SLOW, template, {"ms": pace * 1000, "before": before * 1000})

    def _looked(self) -> Fault | None:
        new, before, total = self._new.values(), self._before.values(), len(self._new)
        none, none_before = _without(new), _without(before)
        if self._apart(none, none_before, total):
            template = N_(
                "rolled back from {model}: it had no answer to {share:.0%} of {total} texts, the "
                "model before to {before:.0%}"
            )
            return _broken(template, none, none_before, total)
        most, most_before = _commonest(new), _commonest(before)
        if most >= NEARLY_ALL * total and self._apart(most, most_before, total):
            template = N_(
                "rolled back from {model}: it gave the same answer to {share:.0%} of {total} "
                "texts; the commonest answer of the model before was that to {before:.0%}"
            )
            return _broken(template, most, most_before, total)
        return None

    def _apart(self, count: int, before: int, total: int) -> bool:
        """Whether the first share is above the second by more than `answers_apart`."""
        low = wilson(count, total, self._z)[0]
        return low > wilson(before, total, self._z)[1] + self._settings.answers_apart


def _without(answers: Iterable[str | None]) -> int:
    return sum(one is None for one in answers)


def _commonest(answers: Iterable[str | None]) -> int:
    counts = Counter(one for one in answers if one is not None)
    return max(counts.values(), default=0)


def _broken(template: str, count: int, before: int, total: int) -> Fault:
    return Fault(
        ANSWERS, template, {"share": count / total, "before": before / total, "total": total}
    )
