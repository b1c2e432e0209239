"""The half of `ngram` that predicts: four arrays and one call of the kernel."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
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
SMALL_BATCH = 1024
"""Texts up to which one thread is faster: handing work to threads took 4 ms on two busy cores,
as long as some 700 texts of 70 characters."""


class NgramPredictor:
    """Probabilities of texts; `Predictor` of `feilun.models.family`. Holds no state that a call
    changes, so any number of threads may share it."""

    def __init__(self, labels: Sequence[str], shape: native.Shape, arrays: Arrays) -> None:
        self.labels = tuple(labels)
        self._arrays = arrays
        self._member, self._rank = native.index(arrays.buckets, shape.bits)
        self._entries = np.column_stack([arrays.scale, arrays.weights])
        self._table = native.Table(
            shape,
            len(self.labels),
            len(arrays.bias),
            *(
                ctypes.c_void_p(array.ctypes.data)
                for array in (
                    self._member, self._rank, self._entries,
                    arrays.bias, arrays.slope, arrays.shift,
                )
            ),
        )  # fmt: skip

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities `[len(texts), len(labels)]`, float32; a row of NaN where the model knows
        no n-gram of the text."""
        num = len(texts)
        out = np.empty((num, len(self.labels)), dtype=np.float32)
        if num == 0:
            return out
        given = native.texts(lines(texts), num)
        if num <= SMALL_BATCH:
            native.predict(self._table, given, 0, num, out)
            return out
        pieces = native.shares(num, usable_cores())
        for _done in native.ordered(
            lambda i: native.predict(self._table, given, *pieces[i], out), len(pieces)
        ):
            pass
        return out


class Arrays:
    """What `model.safetensors` holds, checked: the kernel reads by it without looking again."""

    _DTYPES = {  # noqa: RUF012  # never changed
        "buckets": np.int32, "scale": np.float32, "weights": np.float32,
        "bias": np.float32, "slope": np.float32, "shift": np.float32,
    }  # fmt: skip

    def __init__(self, folder: Path, num_labels: int, bits: int) -> None:
        try:
            found = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise NotAModel(folder, str(error)) from None
        for name, dtype in self._DTYPES.items():
            array = found.get(name)
            if array is None or array.dtype != dtype or not np.isfinite(array).all():
                raise NotAModel(folder, _("tensor {name} is missing or wrong").format(name=name))
        num = found["buckets"].size
        margins = num_labels if num_labels > 2 else 1
        shapes = {
            "buckets": (num,), "scale": (num,), "weights": (num, margins),
            "bias": (margins,), "slope": (1,), "shift": (num_labels,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if found[name].shape != shape:
                raise NotAModel(
                    folder,
                    _("tensor {name} has shape {found}, not {wanted}").format(
                        name=name, found=found[name].shape, wanted=shape
                    ),
                )
        buckets = found["buckets"]
        if num and (buckets[0] < 0 or buckets[-1] >= 2**bits or (np.diff(buckets) <= 0).any()):
            raise NotAModel(folder, _("its buckets are out of order or out of range"))
        self.buckets, self.scale, self.weights, self.bias, self.slope, self.shift = (
            np.ascontiguousarray(found[name]) for name in self._DTYPES
        )
