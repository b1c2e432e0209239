"""The compiled tagger (`field.c`) with types: NumPy arrays in, NumPy arrays out.

It checks nothing itself: `tagging.py` makes what it is given, and `tagger.py` checks what comes
from a file.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from feilun.core.compiled import library_path, load_library
from feilun.models.ngram.units import Characters, traits

LIBRARY = library_path(__file__, "field")
ROLES = 4
"""Tags of a label: begin, inside, end, single. With them entity F1 was 1.2 points above that of
begin and inside alone (4,000 sentences of the People's Daily)."""
BEGIN, INSIDE, END, SINGLE = range(ROLES)
STEEPEST = 20.0
"""No transition weighs more, or less than minus that; `field.c` counts on it."""
MOST_FEATURES = 40
"""Of one unit."""

_NO_MEMORY, _CLASH = -1, -2
_POINTER, _INT, _INT32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
_SIGNATURES: dict[str, list[Any]] = {
    "fl_crf_units": [_POINTER, _POINTER, _POINTER, _INT, *[_POINTER] * 3],
    "fl_crf_count": [_POINTER, _POINTER, _POINTER, _INT, _INT32, _POINTER],
    "fl_crf_keys": [*[_POINTER] * 3, _INT, _INT, _INT32, _POINTER, _INT, _POINTER],
    "fl_crf_table": [_POINTER, _INT, _INT32, _POINTER, _POINTER],
    "fl_crf_learn": [_POINTER] * 4,
    "fl_crf_loss": [_POINTER] * 5,
    "fl_crf_own": [_POINTER, _POINTER, _POINTER, _INT, _POINTER],
    "fl_crf_find": [*[_POINTER] * 5, _INT, _INT, _POINTER, _POINTER],
}
_FOUND = np.dtype(
    [("text", "i8"), ("start", "i8"), ("end", "i8"), ("label", "i4"), ("score", "f4")]
)


class _Shape(ctypes.Structure):
    _fields_ = [
        ("grouped", _INT32), ("slot_bits", _INT32), ("traits", _POINTER), ("keys", _POINTER),
        ("found", _POINTER),
    ]  # fmt: skip


class _Chain(ctypes.Structure):
    _fields_ = [
        ("num_tags", _INT32), ("stride", _INT32), ("num_links", _INT32), ("from", _POINTER),
        ("to", _POINTER), ("link", _POINTER), ("opens", _POINTER), ("closes", _POINTER),
    ]  # fmt: skip


class _Learner(ctypes.Structure):
    _fields_ = [
        ("weights", _POINTER), ("squares", _POINTER), ("links", _POINTER),
        ("link_squares", _POINTER), ("rate", ctypes.c_float), ("least", ctypes.c_float),
    ]  # fmt: skip


class _Lesson(ctypes.Structure):
    _fields_ = [
        ("chars", _POINTER), ("starts", _POINTER), ("firsts", _POINTER), ("truth", _POINTER),
        ("order", _POINTER), ("num", _INT),
    ]  # fmt: skip


class _Model(ctypes.Structure):
    _fields_ = [("weights", _POINTER), ("links", _POINTER), ("scale", ctypes.c_float)]


class Clash(ValueError):
    """Keys that are no hashes: too many of them want the same place."""


class Units(NamedTuple):
    """The units of texts: where each begins and ends in its text, int64, and `sizes`, how many
    each text has."""

    begins: np.ndarray
    ends: np.ndarray
    sizes: np.ndarray


class Lesson(NamedTuple):
    """Texts with the tag of each unit: those of text i are truth[firsts[i]] (int16) and on."""

    chars: Characters
    firsts: np.ndarray
    truth: np.ndarray


class Learner(NamedTuple):
    """What is learnt, float32: `weights` [features, stride] and `links` [transitions], each with
    its sums of squared gradients; then the rate, and the gradient below which a unit is let be."""

    weights: np.ndarray
    squares: np.ndarray
    links: np.ndarray
    link_squares: np.ndarray
    rate: float
    least: float


class Chain:
    """The tags of `num_labels` labels (O, and four of each) and which may follow which."""

    def __init__(self, num_labels: int) -> None:
        self.num_tags = 1 + ROLES * num_labels
        self.stride = -(-self.num_tags // 8) * 8
        role = (np.arange(self.num_tags) - 1) % ROLES
        label = (np.arange(self.num_tags) - 1) // ROLES
        outside = np.arange(self.num_tags) == 0
        self._opens = outside | (role == BEGIN) | (role == SINGLE)
        self._closes = outside | (role == END) | (role == SINGLE)
        inner = ~self._closes[:, None] & ~self._opens & (label[:, None] == label)
        allowed = (self._closes[:, None] & self._opens) | inner
        self._to, self._from = (at.astype(np.int32) for at in np.nonzero(allowed.T))
        self.num_links = len(self._to)
        """How many transitions there are; (2 labels + 1)² + 4 labels."""
        self._link = np.full(allowed.shape, -1, dtype=np.int32)
        self._link[self._from, self._to] = np.arange(self.num_links)
        self._opens, self._closes = self._opens.astype(np.uint8), self._closes.astype(np.uint8)
        self.pointer = ctypes.byref(
            _Chain(
                self.num_tags, self.stride, self.num_links, _at(self._from), _at(self._to),
                _at(self._link), _at(self._opens), _at(self._closes),
            )
        )  # fmt: skip


class Reader:
    """How texts are read: into which units, and which features are known (`keys`, uint32, each
    but once: feature i has keys[i]); raises `Clash`."""

    def __init__(self, grouped: bool, keys: np.ndarray | None = None) -> None:
        given = np.empty(0, dtype=np.uint32) if keys is None else keys
        bits = max(int(2 * len(given)).bit_length(), 1)
        self._keys, self._found = np.zeros(2**bits, np.uint32), np.empty(2**bits, np.int32)
        if _library().fl_crf_table(
            _at(given, np.uint32), len(given), bits, _at(self._keys), _at(self._found)
        ):
            raise Clash
        self._traits = traits()
        self.features = given
        self.num_features = len(given)
        self.pointer = ctypes.byref(
            _Shape(grouped, bits, _at(self._traits), _at(self._keys), _at(self._found))
        )


class Model:
    """A model to answer with: `weights` int16 [features, stride], `links` float32; a score is
    the sum of its weights times `scale`."""

    def __init__(self, weights: np.ndarray, links: np.ndarray, scale: float) -> None:
        self._arrays = weights, links
        self.pointer = ctypes.byref(_Model(_at(weights, np.int16), _at(links, np.float32), scale))


@cache
def _library() -> ctypes.CDLL:
    return load_library(LIBRARY, _SIGNATURES, _SIGNATURES)


def units(reader: Reader, chars: Characters) -> Units:
    """The units of the texts."""
    begins, ends = (np.empty(len(chars.points), dtype=np.int64) for _ in range(2))
    sizes = np.empty(chars.num, dtype=np.int64)
    num = _checked(
        _library().fl_crf_units(
            reader.pointer, *_texts(chars), chars.num, _at(begins), _at(ends), _at(sizes)
        )
    )
    return Units(begins[:num], ends[:num], sizes)


def count(reader: Reader, chars: Characters, bits: int) -> np.ndarray:
    """How often keys occur, by their first `bits`: uint8 [2^bits], 255 for more."""
    counts = np.zeros(2**bits, dtype=np.uint8)
    _checked(_library().fl_crf_count(reader.pointer, *_texts(chars), chars.num, bits, _at(counts)))
    return counts


def keys(
    reader: Reader, chars: Characters, first: int, last: int, counts: np.ndarray, least: int
) -> np.ndarray:
    """The keys, uint32, of the texts first..last, as often as they occur there, that `counts`
    (what `count` gave) gives at least `least`."""
    bits = len(counts).bit_length() - 1
    out = np.empty((chars.starts[last] - chars.starts[first]) * MOST_FEATURES, dtype=np.uint32)
    num = _checked(
        _library().fl_crf_keys(
            reader.pointer, *_texts(chars), first, last, bits, _at(counts, np.uint8), least,
            _at(out),
        )
    )  # fmt: skip
    return out[:num]


def learn(
    reader: Reader, chain: Chain, learner: Learner, lesson: Lesson, order: np.ndarray
) -> None:
    """One pass over the texts `order` (int32), changing the arrays of `learner`."""
    _checked(
        _library().fl_crf_learn(
            reader.pointer,
            chain.pointer,
            ctypes.byref(_learner(learner)),
            ctypes.byref(_lesson(lesson, order)),
        )
    )


def loss(
    reader: Reader, chain: Chain, learner: Learner, lesson: Lesson, order: np.ndarray
) -> float:
    """The sum of the negative log-likelihoods of the texts `order` (int32)."""
    found, given, learns = ctypes.c_double(), _lesson(lesson, order), _learner(learner)
    _checked(
        _library().fl_crf_loss(
            reader.pointer, chain.pointer, ctypes.byref(learns), ctypes.byref(given),
            ctypes.byref(found),
        )
    )  # fmt: skip
    return found.value


def own(reader: Reader, chars: Characters) -> np.ndarray:
    """Which features are a unit of these texts whatever is around it, bool [features]."""
    marks = np.zeros(reader.num_features, dtype=np.uint8)
    _checked(_library().fl_crf_own(reader.pointer, *_texts(chars), chars.num, _at(marks)))
    return marks.astype(bool)


def find(
    reader: Reader, chain: Chain, model: Model, chars: Characters, first: int, last: int,
    known: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The entities of the texts first..last by text and start: records of text, start, end,
    label and score. known[i] (uint8) becomes 1 where the model knows any unit of text i."""
    found = np.empty(int(chars.starts[last] - chars.starts[first]), dtype=_FOUND)
    num = _checked(
        _library().fl_crf_find(
            reader.pointer, chain.pointer, model.pointer, *_texts(chars), first, last,
            _at(known, np.uint8), _at(found),
        )
    )  # fmt: skip
    return found[:num]


def _texts(chars: Characters) -> tuple[int, int]:
    return _at(chars.points, np.uint32), _at(chars.starts, np.int64)


def _lesson(lesson: Lesson, order: np.ndarray) -> _Lesson:
    return _Lesson(
        *_texts(lesson.chars), _at(lesson.firsts, np.int64), _at(lesson.truth, np.int16),
        _at(order, np.int32), len(order),
    )  # fmt: skip


def _learner(learner: Learner) -> _Learner:
    arrays = (_at(array, np.float32) for array in learner[:4])
    return _Learner(*arrays, learner.rate, learner.least)


def _at(array: np.ndarray, dtype: type[np.generic] | None = None) -> int:
    if not array.flags.c_contiguous or (dtype is not None and array.dtype != dtype):
        raise TypeError(f"expected contiguous {dtype}, got {array.dtype}")
    return array.ctypes.data


def _checked(answer: int) -> int:
    if answer == _NO_MEMORY:
        raise MemoryError
    return answer
