"""Tasks whose answers are right or wrong, thing by thing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from feilun.core.artifacts import Gain
from feilun.tasks.metrics import Counting
from feilun.tasks.task import Evaluation, Task


class Counted(Task):
    """A task that is measured by counting right things."""

    @property
    def exclusive(self) -> bool:
        """Whether an answer is one label, which excludes the others."""
        return self.counting.exclusive

    @property
    @abstractmethod
    def counting(self) -> Counting:
        """How its answers are measured."""

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.counting.figures)

    def evaluate(
        self,
        truth: Sequence[str],
        answers: Sequence[str | None],
        labels: Sequence[str],
        *,
        seed: int,
        confidence: float = 0.95,
    ) -> Evaluation:
        return self.counting.evaluate(truth, answers, labels, seed=seed, confidence=confidence)

    def gain(
        self,
        truth: Sequence[str],
        candidate: Sequence[str | None],
        other: Sequence[str | None],
        *,
        metric: str,
        against: str,
        seed: int,
        confidence: float = 0.95,
    ) -> Gain:
        return self.counting.gain(
            truth,
            candidate,
            other,
            metric=metric,
            against=against,
            seed=seed,
            confidence=confidence,
        )
