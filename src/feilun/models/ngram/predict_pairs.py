"""The half of `ngram` that predicts pairs: the reader of training, then a product."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from feilun.core.i18n import _
from feilun.models.folder import NotAModel
from feilun.models.ngram import native
from feilun.models.ngram.pairs import Pair, PairReader, PairRows, Vocabulary, num_dense
from feilun.models.ngram.predict import WIDTH, check_buckets, check_shapes, each_share, tensors
from feilun.models.ngram.training import Features, weighed

LARGEST = 1e15
"""In a tensor: no sum of products of such figures overflows."""


class PairPredictor:
    """Probabilities of pairs of texts; a `Scorer` of `feilun.tasks.task`, and an `Embedder`. Holds
    no state that a call changes, so any number of threads may share it."""

    def __init__(self, labels: Sequence[str], shape: native.Shape, arrays: PairArrays) -> None:
        self.labels = tuple(labels)
        self._arrays = arrays
        self._reader = PairReader(shape, arrays.known)
        self._member, self._rank = native.index(arrays.known.buckets, shape.bits)
        nothing = ctypes.c_void_p(None)
        self._table = native.Table(
            shape, 0, 0, native.VALUE,
            *(
                ctypes.c_void_p(array.ctypes.data)
                for array in (self._member, self._rank, arrays.known.idf)
            ),
            nothing, nothing, nothing,
        )  # fmt: skip

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Probabilities `[len(pairs), len(labels)]`, float32, the same with the texts exchanged;
        a row of NaN where a text of the pair has no n-gram at all."""
        arrays = self._arrays
        if not pairs:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        given = self._reader.read(pairs)
        rows = weighed(as_features(given, arrays.known), arrays.scale)
        everything = np.arange(len(pairs), dtype=np.int32)
        margins = np.stack([native.margins(rows, everything, w) for w in arrays.weights], axis=1)
        if margins.shape[1] == 1:
            margins = np.hstack([np.zeros_like(margins), margins])
        z = float(arrays.slope[0]) * margins[:, : len(self.labels)] + arrays.shift
        chances = np.exp(z - z.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        chances[~given.known] = np.nan
        result: np.ndarray = chances.astype(np.float32)
        return result

    def embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1, float32 `[len(texts), WIDTH]`, whose products are the cosines of the
        texts' tf-idf, give or take 0.06. A row of NaN where the model knows no n-gram of the
        text."""
        out = np.empty((len(texts), WIDTH), dtype=np.float32)
        rare = self._arrays.known.rare
        each_share(
            texts,
            lambda given, first, last: native.embed(self._table, given, first, last, rare, out),
        )
        return out


def as_features(given: PairRows, known: Vocabulary) -> Features:
    """The rows as `training` takes them."""
    return Features(known.buckets, given.rows, 2 * len(known.buckets), given.dense)


class PairArrays:
    """What `model.safetensors` holds of a model of pairs, checked: `known`, `scale` [2 n-grams],
    `weights` [margins, 2 n-grams + dense + 1], the bias last, `slope` and `shift`."""

    _DTYPES = {  # noqa: RUF012  # never changed
        "buckets": np.int32, "idf": np.float32, "rare": np.float32, "scale": np.float32,
        "weights": np.float32, "slope": np.float32, "shift": np.float32,
    }  # fmt: skip

    def __init__(self, folder: Path, num_labels: int, shape: native.Shape) -> None:
        found = tensors(folder, self._DTYPES)
        num = found["buckets"].size
        margins = num_labels if num_labels > 2 else 1
        shapes = {
            "buckets": (num,), "idf": (num,), "rare": (1,), "scale": (2 * num,),
            "weights": (margins, 2 * num + num_dense(shape) + 1), "slope": (1,),
            "shift": (num_labels,),
        }  # fmt: skip
        check_shapes(folder, found, shapes)
        check_buckets(folder, found["buckets"], shape.bits)
        for name in self._DTYPES:
            lowest = 0.0 if name in {"idf", "rare", "scale"} else -LARGEST
            if found[name].size and not (
                lowest <= found[name].min() and found[name].max() <= LARGEST
            ):
                raise NotAModel(folder, _("tensor {name} is missing or wrong").format(name=name))
        self.known = Vocabulary(found["buckets"], found["idf"], float(found["rare"][0]))
        self.scale, self.weights = found["scale"], found["weights"]
        self.slope, self.shift = found["slope"], found["shift"]
