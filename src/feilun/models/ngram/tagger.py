"""The half of a tagger that predicts: four arrays and one call of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from feilun.core.compiled import usable_cores
from feilun.core.i18n import _
from feilun.models.folder import NotAModel
from feilun.models.ngram import crf, native
from feilun.models.ngram.predict import WEIGHTS
from feilun.models.ngram.tagging import TrainedTagger
from feilun.models.ngram.units import Characters, characters
from feilun.tasks.task import Entity

SMALL_BATCH = 8000
"""Characters up to which one thread is faster than handing the work to several."""
MOST_SCORE = 1e4
"""The largest weight that a file may hold; trained ones stay below 20."""
_DTYPES = {
    "keys": np.uint32, "weights": np.int16, "links": np.float32, "scale": np.float32,
    "grouped": np.bool_,
}  # fmt: skip


class NgramTagger:
    """The entities of texts; `Tagger` of `feilun.tasks.task`. Holds no state that a call changes,
    so any number of threads may share it."""

    def __init__(
        self, labels: Sequence[str], chain: crf.Chain, reader: crf.Reader, model: crf.Model
    ) -> None:
        self.labels = tuple(labels)
        self._chain, self._reader, self._model = chain, reader, model

    @classmethod
    def load(cls, folder: Path, labels: Sequence[str]) -> Self:
        """What `write_tagger` wrote; raises `NotAModel` for anything else."""
        chain = crf.Chain(len(labels))
        arrays = _read(folder, chain)
        try:
            reader = crf.Reader(bool(arrays["grouped"][0]), np.ascontiguousarray(arrays["keys"]))
        except crf.Clash:
            raise NotAModel(folder, _("its keys are not hashes")) from None
        padded = np.zeros((reader.num_features, chain.stride), dtype=np.int16)
        padded[:, : chain.num_tags] = arrays["weights"]
        links = np.ascontiguousarray(arrays["links"])
        return cls(labels, chain, reader, crf.Model(padded, links, float(arrays["scale"][0])))

    def entities(self, texts: Sequence[str]) -> list[list[Entity] | None]:
        """The entities of each text by their start; None where the text has nothing but white
        space, or no unit of it was in two places of the training texts. The score of an entity is
        its marginal probability: that just these characters are one entity of that label."""
        chars = characters(texts)
        known = np.zeros(chars.num, dtype=np.uint8)
        answers: list[list[Entity] | None] = [[] for _text in texts]
        for found in self._found(chars, known):
            columns = [found[name].tolist() for name in ("text", "start", "end", "label", "score")]
            for text, start, end, label, score in zip(*columns, strict=True):
                row = answers[text]
                assert row is not None  # nothing is None yet
                row.append(Entity(start, end, self.labels[label], score))
        for text in np.flatnonzero(known == 0).tolist():
            answers[text] = None
        return answers

    def _found(self, chars: Characters, known: np.ndarray) -> list[np.ndarray]:
        small = len(chars.points) <= SMALL_BATCH
        pieces = native.shares(chars.num, 1 if small else usable_cores())
        return list(
            native.ordered(
                lambda i: crf.find(
                    self._reader, self._chain, self._model, chars, *pieces[i], known
                ),
                len(pieces),
            )
        )


def write_tagger(trained: TrainedTagger, folder: Path) -> None:
    """Writes `model.safetensors`."""
    arrays = {
        "keys": np.ascontiguousarray(trained.keys),
        "weights": np.ascontiguousarray(trained.weights),
        "links": np.ascontiguousarray(trained.links),
        "scale": np.array([trained.scale], dtype=np.float32),
        "grouped": np.array([trained.units == "words"]),
    }
    save_file(arrays, folder / WEIGHTS)


def _read(folder: Path, chain: crf.Chain) -> dict[str, np.ndarray]:
    """The arrays, checked: the kernel reads by them without looking again."""
    try:
        found = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise NotAModel(folder, str(error)) from None
    for name, dtype in _DTYPES.items():
        array = found.get(name)
        if array is None or array.dtype != dtype or not np.isfinite(array).all():
            raise NotAModel(folder, _("tensor {name} is missing or wrong").format(name=name))
    num = found["keys"].size
    shapes = {
        "keys": (num,), "weights": (num, chain.num_tags), "links": (chain.num_links,),
        "scale": (1,), "grouped": (1,),
    }  # fmt: skip
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise NotAModel(
                folder,
                _("tensor {name} has shape {found}, not {wanted}").format(
                    name=name, found=found[name].shape, wanted=shape
                ),
            )
    largest = np.iinfo(np.int16).max * float(found["scale"][0])
    if not 0 < largest <= MOST_SCORE or np.abs(found["links"]).max() > crf.STEEPEST:
        raise NotAModel(folder, _("its weights are out of range"))
    if len(np.unique(found["keys"])) != num:
        raise NotAModel(folder, _("it has a key twice"))
    return found
