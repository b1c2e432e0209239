"""The half of `ngram` that predicts: four arrays and one call of the kernel."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from feilun.core.compiled import usable_cores
from feilun.core.i18n import _
from feilun.models.folder import NotAModel
from feilun.models.ngram import native
from feilun.models.ngram.text import lines

WEIGHTS = "model.safetensors"
WIDTH = 256
"""Of an embedding."""
SMALL_BATCH = 1024
"""Texts up to which one thread is faster: handing work to threads took 4 ms on two busy cores,
as long as some 700 texts of 70 characters."""


class NgramPredictor:
    """Probabilities (or values) of texts; a `Scorer` of `feilun.tasks.task`. Holds no state that
    a call changes, so any number of threads may share it."""

    def __init__(self, labels: Sequence[str], shape: native.Shape, arrays: Arrays) -> None:
        self.labels = tuple(labels)
        self._arrays = arrays
        self._width = len(arrays.shift)
        self._member, self._rank = native.index(arrays.buckets, shape.bits)
        self._entries = np.column_stack([arrays.scale, arrays.weights])
        self._table = native.Table(
            shape,
            self._width,
            len(arrays.bias),
            arrays.kind,
            *(
                ctypes.c_void_p(array.ctypes.data)
                for array in (
                    self._member, self._rank, self._entries,
                    arrays.bias, arrays.slope, arrays.shift,
                )
            ),
        )  # fmt: skip

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities `[len(texts), len(labels)]`, or values `[len(texts), 1]`, float32; a row
        of NaN where the model knows no n-gram of the text."""
        out = np.empty((len(texts), self._width), dtype=np.float32)
        each_share(
            texts, lambda given, first, last: native.predict(self._table, given, first, last, out)
        )
        return out

    def embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1, float32 `[len(texts), WIDTH]`: texts are near that share what the
        model looks at. A row of NaN where the model knows no n-gram of the text."""
        out = np.empty((len(texts), WIDTH), dtype=np.float32)
        each_share(
            texts, lambda given, first, last: native.embed(self._table, given, first, last, 0, out)
        )
        return out


class ValuePredictor(NgramPredictor):
    """The value of each text, and `interval`: what to add to it, for an interval that held nine
    in ten of the texts that were left out."""

    def __init__(self, shape: native.Shape, arrays: Arrays, interval: tuple[float, float]) -> None:
        super().__init__((), shape, arrays)
        self.interval = interval


def each_share(texts: Sequence[str], work: Callable[[native.Texts, int, int], None]) -> None:
    """Calls `work` with shares (first, last) of the texts: one, or for many texts one per
    processor, side by side."""
    num = len(texts)
    if num == 0:
        return
    given = native.texts(lines(texts), num)
    pieces = native.shares(num, 1 if num <= SMALL_BATCH else usable_cores())
    for _done in native.ordered(lambda i: work(given, *pieces[i]), len(pieces)):
        pass


class Arrays:
    """What `model.safetensors` holds, checked: the kernel reads by it without looking again.

    `num_columns` is of the answer, and `kind` (`native`) what a margin becomes in it.
    """

    _DTYPES = {  # noqa: RUF012  # never changed
        "buckets": np.int32, "scale": np.float32, "weights": np.float32,
        "bias": np.float32, "slope": np.float32, "shift": np.float32,
    }  # fmt: skip

    def __init__(
        self, folder: Path, num_columns: int, bits: int, kind: int = native.EXCLUSIVE
    ) -> None:
        found = tensors(folder, self._DTYPES)
        num = found["buckets"].size
        exclusive = kind == native.EXCLUSIVE
        margins = 1 if exclusive and num_columns <= 2 else num_columns
        slopes = num_columns if kind == native.INDEPENDENT else 1
        shapes = {
            "buckets": (num,), "scale": (num,), "weights": (num, margins),
            "bias": (margins,), "slope": (slopes,), "shift": (num_columns,),
        }  # fmt: skip
        check_shapes(folder, found, shapes)
        check_buckets(folder, found["buckets"], bits)
        self.kind = kind
        self.buckets, self.scale, self.weights, self.bias, self.slope, self.shift = (
            found[name] for name in self._DTYPES
        )


def tensors(folder: Path, dtypes: Mapping[str, type[np.generic]]) -> dict[str, np.ndarray]:
    """The tensors of those names in `model.safetensors`, contiguous; raises `NotAModel` unless
    each is there, of its type and finite."""
    try:
        found = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise NotAModel(folder, str(error)) from None
    for name, dtype in dtypes.items():
        array = found.get(name)
        if array is None or array.dtype != dtype or not np.isfinite(array).all():
            raise NotAModel(folder, _("tensor {name} is missing or wrong").format(name=name))
    return {name: np.ascontiguousarray(found[name]) for name in dtypes}


def check_shapes(
    folder: Path, found: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raises `NotAModel` unless each tensor has its shape."""
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise NotAModel(
                folder,
                _("tensor {name} has shape {found}, not {wanted}").format(
                    name=name, found=found[name].shape, wanted=shape
                ),
            )


def check_buckets(folder: Path, buckets: np.ndarray, bits: int) -> None:
    """Raises `NotAModel` unless they ascend within 0 … 2^bits - 1."""
    if len(buckets) and (buckets[0] < 0 or buckets[-1] >= 2**bits or (np.diff(buckets) <= 0).any()):
        raise NotAModel(folder, _("its buckets are out of order or out of range"))
