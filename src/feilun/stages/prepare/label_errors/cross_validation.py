"""Probabilities of each record's labels, from `ngram` models that have not seen the record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feilun.core.compiled import usable_cores
from feilun.models.ngram import Ngram, native
from feilun.models.ngram.calibration import Calibration, calibrated
from feilun.models.ngram.goal import Exclusive
from feilun.models.ngram.text import lines
from feilun.models.ngram.training import FEW_TEXTS, Features, Machine, Plan, features, fit
from feilun.stages.prepare.label_errors.confident import doubted, thresholds


class CrossValidated:
    """Models of which the one for fold k was trained without fold k.

    In the first round on all other folds, in each further one without the records that the
    rounds before it doubt: a wrong label teaches the models to believe it. The probabilities
    are the mean of the rounds. Measured on reviews with 5, 10 and 20 % of the labels flipped
    (cost of a second round: as long again), average precision .483, .604, .695 with one round,
    .446-.466, .600-.613, .740-.746 with the second round alone, .483, .620, .739 with the mean.

    `least` are the thresholds of confident learning, `[classes]`. The same whatever the number
    of threads; the records' order counts, so give them sorted.
    """

    def __init__(
        self,
        texts: Sequence[str],
        given: np.ndarray,
        fold: np.ndarray,
        *,
        num_classes: int,
        rounds: int,
        seed: int,
    ) -> None:
        """`given` are class numbers below `num_classes` (int64), `fold` the fold of each text;
        each class is in two folds at least."""
        self._num_classes = num_classes
        self._folds = int(fold.max()) + 1
        plan = _plan(len(texts), self._folds, seed)
        self._shape = plan.shape
        learnt = features(native.texts(lines(texts), len(texts)), plan)
        self._feature = np.full(2**plan.shape.bits, -1, dtype=np.int32)
        self._feature[learnt.buckets] = np.arange(len(learnt.buckets), dtype=np.int32)
        self._machines: list[list[Machine]] = []
        self._calibrations: list[Calibration] = []
        believed = np.ones(len(texts), dtype=bool)
        total = np.zeros((len(texts), num_classes))
        for number in range(rounds):
            margins = self._trained(learnt, given, np.where(believed, fold, -1), fold, plan)
            self._calibrations.append(calibrated(margins, given, num_classes))
            total += _chances(margins, self._calibrations[-1])
            mean = total / (number + 1)
            self.least = thresholds(mean, given)
            if number + 1 < rounds:
                doubts, _counts = doubted(mean, given, self.least)
                believed[:] = True
                believed[doubts.row[doubts.confident]] = False

    def chances(self, texts: Sequence[str], fold: np.ndarray) -> np.ndarray:
        """Probabilities `[texts, classes]`, each row from the models that were trained without
        its fold; NaN where no n-gram of the text is known. Memory: 50 bytes a character."""
        out = np.full((len(texts), self._num_classes), np.nan)
        for number in range(self._folds):
            own = np.flatnonzero(fold == number)
            if len(own) == 0:
                continue
            rows = self._rows([texts[at] for at in own.tolist()])
            every = np.arange(rows.num, dtype=np.int32)
            parts = (
                _chances(_margins(rows, every, machines[number]), calibration)
                for machines, calibration in zip(self._machines, self._calibrations, strict=True)
            )
            found = np.mean(np.stack(list(parts)), axis=0)
            found[np.diff(rows.starts) == 0] = np.nan
            out[own] = found
        return out

    def _trained(
        self, learnt: Features, given: np.ndarray, taught: np.ndarray, fold: np.ndarray, plan: Plan
    ) -> np.ndarray:
        """Trains a round on the records whose `taught` is a fold; their out-of-fold margins."""

        def one(number: int) -> tuple[Machine, np.ndarray]:
            chosen = np.flatnonzero((taught >= 0) & (taught != number))
            machine = fit(learnt, chosen, Exclusive(given, self._num_classes), plan)
            left_out = np.flatnonzero(fold == number).astype(np.int32)
            return machine, _margins(learnt.rows, left_out, machine)

        # As in `ngram`: with one margin the fits run side by side, else `fit` itself is parallel.
        threads = None if self._num_classes == 2 else 1
        results = list(native.ordered(one, self._folds, num_threads=threads))
        self._machines.append([machine for machine, _found in results])
        margins = np.zeros((len(given), results[0][1].shape[1]))
        for number, (_machine, found) in enumerate(results):
            margins[fold == number] = found
        return margins

    def _rows(self, texts: Sequence[str]) -> native.Rows:
        given = native.texts(lines(texts), len(texts))
        pieces = native.shares(given.num, usable_cores())
        parts = list(
            native.ordered(lambda at: native.grams(given, self._shape, *pieces[at]), len(pieces))
        )
        buckets, values, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
        return native.keep(buckets, values, sizes, self._feature)


def _plan(num_texts: int, folds: int, seed: int) -> Plan:
    family = Ngram()
    return Plan(
        native.Shape(family.min_chars, family.max_chars, family.max_words, family.bits),
        2 if num_texts >= FEW_TEXTS else 1,
        family.cost,
        family.class_weight == "balanced",
        folds,
        seed,
        native.Until(family.tolerance, family.max_epochs, seed),
    )


def _margins(rows: native.Rows, chosen: np.ndarray, machine: Machine) -> np.ndarray:
    weighed = native.weigh(rows, machine.scale)
    return np.stack([native.margins(weighed, chosen, one) for one in machine.weights], axis=1)


def _chances(margins: np.ndarray, calibration: Calibration) -> np.ndarray:
    own = margins if margins.shape[1] > 1 else np.hstack([np.zeros_like(margins), margins])
    z = calibration.slope * own + calibration.shift
    chances = np.exp(z - z.max(axis=1, keepdims=True))
    result: np.ndarray = chances / chances.sum(axis=1, keepdims=True)
    return result
