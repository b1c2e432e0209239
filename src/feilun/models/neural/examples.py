"""What a network learns from: inputs as ids, with what it should answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.models.family import LabelUnknown, Lesson
from feilun.models.neural.aim import Aim, aim_of
from feilun.models.neural.reading import Encoded, Reader
from feilun.models.neural.tags import tagged

if TYPE_CHECKING:
    import polars as pl


class BadTruth(Invalid):
    """A record's right answer is none: a number that is no number, a span outside its text."""

    def __init__(self, truth: object, reason: str) -> None:
        super().__init__(
            _("The record's answer {truth} cannot be learnt from: {reason}.").format(
                truth=shortened(truth), reason=reason
            ),
            remedy="feilun show dataset/latest",
        )


class Examples(NamedTuple):
    """Inputs as ids, and targets: a row per input, or for tags one per id.

    Of pairs, `encoded` holds two texts each. `width` is how many texts make an input: 1 or 2.
    """

    encoded: Encoded
    target: np.ndarray
    aim: Aim
    width: int = 1

    @property
    def num(self) -> int:
        """How many inputs."""
        return (len(self.encoded.start) - 1) // self.width


def examples(
    lesson: Lesson,
    frame: pl.DataFrame,
    reader: Reader,
    soft: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Examples:
    """The records of `frame` in which there is something to judge by, and their answers.

    Raises `LabelUnknown` and `BadTruth`.
    """
    aim = aim_of(lesson.task)
    if aim == "tokens":
        frame = frame.filter(frame["spans"].is_not_null())
    inputs = lesson.task.inputs(frame)
    width = 2 if lesson.task.use == "match" else 1
    texts = [t or "" for pair in inputs for t in pair] if width > 1 else [t or "" for t in inputs]
    encoded = reader.encode([str(text) for text in texts], progress, places=aim == "tokens")
    keep = reader.known(encoded).reshape(-1, width).all(axis=1)
    if aim == "tokens":
        target = _tags(frame["spans"].to_list(), texts, encoded, lesson.labels)
        target = target[np.repeat(keep, encoded.lengths)]
    else:
        target = _answers(aim, frame["label"].to_list(), lesson.labels)
        if soft is not None:
            target = _softened(aim, target, soft, len(lesson.labels))
        target = target[keep]
    return Examples(_kept(encoded, np.repeat(keep, width)), target, aim, width)


def _kept(encoded: Encoded, keep: np.ndarray) -> Encoded:
    lengths = encoded.lengths
    which = np.repeat(keep, lengths)
    start = np.concatenate([[0], np.cumsum(lengths[keep])])
    return Encoded(encoded.ids[which], start)


def _answers(aim: Aim, given: Sequence[str | None], labels: tuple[str, ...]) -> np.ndarray:
    """One number per record, or 0 and 1 per record and label."""
    if aim == "value":
        return np.array([_value(one) for one in given], dtype=np.float64)
    number = {label: i for i, label in enumerate(labels)}
    if aim == "classes":
        unknown = next((label for label in given if label not in number), None)
        if unknown is not None or None in given:
            raise LabelUnknown(unknown, labels)
        return np.array([number[str(label)] for label in given], dtype=np.int64)
    target = np.zeros((len(given), len(labels)), dtype=np.float32)
    for row, written in enumerate(given):
        if written is None:
            raise LabelUnknown(None, labels)
        for label in written.split("|") if written else []:
            if label not in number:
                raise LabelUnknown(label, labels)
            target[row, number[label]] = 1
    return target


def _value(written: str | None) -> float:
    try:
        value = float(str(written))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadTruth(written, _("it is no finite number"))
    return value


def _softened(aim: Aim, target: np.ndarray, soft: np.ndarray, labels: int) -> np.ndarray:
    """A teacher's probabilities, and a record's own label where the teacher says nothing."""
    if aim == "classes":
        target = np.eye(labels, dtype=np.float32)[target]
    silent = np.isnan(soft).any(axis=1, keepdims=True)
    return np.where(silent, target, soft).astype(np.float32)


def _tags(
    given: Sequence[Sequence[dict[str, Any]]],
    texts: Sequence[Any],
    encoded: Encoded,
    labels: tuple[str, ...],
) -> np.ndarray:
    """The tag of every id."""
    number = {label: i for i, label in enumerate(labels)}
    spans = []
    for of_record, text in zip(given, texts, strict=True):
        sorted_ = sorted((s["start"], s["end"], s["label"]) for s in of_record)
        before = 0
        for start, end, label in sorted_:
            if label not in number:
                raise LabelUnknown(label, labels)
            if not 0 <= start < end <= len(text):
                raise BadTruth((start, end, label), _("it lies outside its text"))
            if start < before:
                raise BadTruth((start, end, label), _("it overlaps the entity before it"))
            before = end
        spans.append([(start, end, number[label]) for start, end, label in sorted_])
    assert encoded.begin is not None
    assert encoded.end is not None
    return tagged(encoded.begin, encoded.end, encoded.start, spans)
