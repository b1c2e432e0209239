"""How the true labels are distributed now, estimated from the answers."""

from __future__ import annotations

from statistics import NormalDist
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.monitor.detector import Detector, Level, Signal, Window
from feilun.stages.monitor.null import FEWEST

_MOST_CLASSES = 30
_FEWEST_PER_CLASS = 5
_DRAWS = 400
_SEED = 20_180_602


class Estimate(NamedTuple):
    """The share of each class among the inputs: by estimate, with the ends of its interval at
    `confidence`; among the held-out texts (`before`); and the standard error of the difference.
    Float64 `[classes]` each; the estimate itself may leave 0 to 1, the ends do not."""

    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    before: np.ndarray
    error: np.ndarray


class LabelShift(Detector):
    """Black-box shift estimation (Lipton, Wang and Smola, Detecting and correcting for label
    shift with black box predictors, ICML 2018): the answers are a mixture of what the model
    answers to each class, and its confusion matrix on the held-out texts says to what.

    It assumes that the texts of a class are as they were; where the inputs have drifted it says
    little. A warning: the estimate is further than `tolerance` from the share among the held-out
    texts, beyond chance. No signal where an answer is not one label, where a class has fewer than
    5 held-out texts, where there are more than 30 classes, or where the model cannot tell them
    apart (the confusion matrix's least singular value is below `least_singular`).
    """

    use: ClassVar[str] = "label_shift"

    tolerance: float = Field(0.05, ge=0, le=1, description="distance from the held-out share")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals")
    least_singular: float = Field(
        0.1, gt=0, le=1, description="below it the classes count as not told apart"
    )

    def tests(self, window: Window) -> int:
        return int(self._counts(window) is not None)

    def detect(self, window: Window) -> list[Signal]:
        counts, reference = self._counts(window), window.reference
        if counts is None or reference is None or reference.confusion is None:
            return []
        found = estimate(reference.confusion, counts, self.confidence)
        # As many shares as classes, less the one that the others leave.
        tests = max(len(reference.classes) - 1, 1)
        z = NormalDist().inv_cdf(1 - window.alpha / (2 * tests))
        template = N_(
            "'{label}': {share:.1%} of the inputs by estimate ({low:.1%} to {high:.1%}), "
            "{expected:.1%} of held-out texts"
        )
        signals = []
        for at, label in enumerate(reference.classes):
            away = abs(float(found.share[at] - found.before[at]))
            threshold = max(self.tolerance, z * float(found.error[at]))
            share = min(max(float(found.share[at]), 0.0), 1.0)
            values = {
                "label": label,
                "share": share,
                "low": float(found.low[at]),
                "high": float(found.high[at]),
                "expected": float(found.before[at]),
            }
            signals.append(
                Signal(
                    f"label_shift.{label}",
                    share,
                    Level.WARNING if away > threshold else Level.OK,
                    Message(template=template, values={**values}),
                    detector=self.use,
                )
            )
        return signals

    def _counts(self, window: Window) -> np.ndarray | None:
        """How often each class was answered (and nothing, the last); None without a signal."""
        reference, answers = window.reference, window.sample.answers
        if reference is None or reference.confusion is None or len(answers) < FEWEST:
            return None
        confusion = reference.confusion
        seen = confusion.sum(axis=1)
        if not 2 <= len(seen) <= _MOST_CLASSES or seen.min() < _FEWEST_PER_CLASS:
            return None
        given = confusion / seen[:, None]
        if np.linalg.svd(given, compute_uv=False).min() < self.least_singular:
            return None
        place = {label: at for at, label in enumerate(reference.classes)}
        places = [place.get(answer, len(seen)) if answer else len(seen) for answer in answers]
        return np.bincount(places, minlength=len(seen) + 1)


def estimate(confusion: np.ndarray, counts: np.ndarray, confidence: float) -> Estimate:
    """The shares of the classes among inputs that were answered `counts` (`[classes + 1]`), by
    the counts of truth and answer on held-out texts (`[classes, classes + 1]`). The least-squares
    solution of confusionᵀ · weights = answers; its interval and error come from drawing both
    tables anew (the bootstrap)."""
    random = np.random.default_rng(_SEED)
    held, drawn = int(confusion.sum()), int(counts.sum())
    tables = random.multinomial(held, (confusion / held).ravel(), size=_DRAWS)
    tables = np.concatenate([confusion[None], tables.reshape(-1, *confusion.shape)])
    answers = random.multinomial(drawn, counts / drawn, size=_DRAWS)
    answers = np.concatenate([counts[None], answers])
    seen = tables.sum(axis=2)
    given = tables / np.maximum(seen, 1)[:, :, None]
    inverse = np.linalg.pinv(given.transpose(0, 2, 1))
    shares = np.einsum("bij,bj->bi", inverse, answers / drawn)
    before = seen / held
    ends = np.quantile(shares[1:], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    low, high = np.clip(ends, 0, 1)
    error = (shares - before)[1:].std(axis=0)
    return Estimate(shares[0], low, high, before[0], error)
