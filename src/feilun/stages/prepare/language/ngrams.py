"""Languages of one script told apart by the byte n-grams of py3langid's model."""

from __future__ import annotations

import ctypes
import io
import lzma
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from feilun.core.compiled import library_path, load_library
from feilun.core.text import utf8

LIBRARY = library_path(__file__, "walk")
MOST_CHARACTERS = 250
"""What is read of a text: from 150 characters on hardly one is told wrongly."""
LANGUAGES = {
    "latin": (
        "af", "az", "br", "bs", "ca", "cs", "cy", "da", "de", "en", "eo", "es", "et", "eu", "fi",
        "fr", "ga", "gl", "hr", "hu", "id", "is", "it", "la", "lt", "lv", "ms", "mt", "nl", "nn",
        "no", "pl", "pt", "ro", "sk", "sl", "sq", "sv", "sw", "tl", "tr", "uz", "vi",
    ),
    "cyrillic": ("be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "tt", "uk"),
    "arabic": ("ar", "fa", "ps", "ug", "ur"),
    "devanagari": ("hi", "mr", "ne"),
}  # fmt: skip
_MERGED = {"nn": "no"}
_ENGLISH = 5.0
"""How much likelier a text in Latin letters is English than any other language, before it is
read: half of the web is."""
_BATCH = 4096


class _Model(NamedTuple):
    """A deterministic automaton over bytes, and a naive Bayes model over what it finds.

    From state s, byte b leads to moves[row[s] + b]; a state finds feature[s], or -1.
    weights: (features, languages), the logarithm of how likely a feature is in a language;
    priors: (languages,), the same of a language.
    """

    moves: np.ndarray
    row: np.ndarray
    feature: np.ndarray
    weights: np.ndarray
    priors: np.ndarray
    languages: list[str]


@cache
def _model() -> _Model:
    """py3langid's model, of it the languages above; takes two seconds, once a process."""
    # Only the file is wanted: importing the package would read it in a way of its own.
    package = find_spec("py3langid")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "data" / "model.npz.xz"
    with lzma.open(path) as source, np.load(io.BytesIO(source.read()), allow_pickle=False) as found:
        names = found["classes"].tolist()
        wanted = {name for group in LANGUAGES.values() for name in group}
        chosen = [at for at, name in enumerate(names) if name in wanted]
        model = _Model(
            found["nextmove"].astype(np.uint32),
            found["nextmove_row"].astype(np.uint32) << np.uint32(8),
            found["out_feat"].astype(np.int32),
            found["ptc"][:, chosen].astype(np.float32),
            found["pc"][chosen].astype(np.float32),
            [names[at] for at in chosen],
        )
    # The kernel follows these numbers without looking.
    assert len(model.row) == len(model.feature)
    assert model.moves.max() < len(model.row)
    assert model.row.max() + 256 <= len(model.moves)
    assert model.feature.max() < len(model.weights)
    return model


@cache
def _model_of(script: str) -> _Model:
    """The part of the model that is about the languages of `script`."""
    model = _model()
    columns = [at for at, name in enumerate(model.languages) if name in LANGUAGES[script]]
    return model._replace(
        weights=np.ascontiguousarray(model.weights[:, columns]),
        priors=model.priors[columns],
        languages=[model.languages[at] for at in columns],
    )


def told_apart(texts: pl.Series, script: str) -> tuple[list[str], np.ndarray]:
    """The language of each text among those of `script` in `LANGUAGES`, and how probable it is
    (float64): the softmax of naive Bayes scores over the square root of the text's bytes, which
    is how py3langid calibrates them, times what is known of English beforehand."""
    model = _model_of(script)
    names = model.languages
    english = np.array([np.log(_ENGLISH) if name == "en" else 0.0 for name in names])
    groups = [_MERGED.get(name, name) for name in names]
    distinct = sorted(set(groups))
    gather = np.array([[name == group for group in distinct] for name in groups], dtype=np.float64)
    best: list[str] = []
    sure = np.zeros(len(texts))
    for first in range(0, len(texts), _BATCH):
        scores, sizes = _scores(_read(texts.slice(first, _BATCH)), model)
        scores = scores / np.sqrt(np.maximum(sizes, 1))[:, None] + english
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances = (chances / chances.sum(axis=1, keepdims=True)) @ gather
        best += [distinct[at] for at in chances.argmax(axis=1)]
        sure[first : first + len(chances)] = chances.max(axis=1)
    return best, sure


def _read(texts: pl.Series) -> pl.Series:
    """The texts as the model was trained on them: shouting in small letters, NFC."""
    texts = texts.str.slice(0, MOST_CHARACTERS)
    loud = texts == texts.str.to_uppercase()
    return texts.zip_with(~loud, texts.str.to_lowercase()).str.normalize("NFC")


def _scores(texts: pl.Series, model: _Model) -> tuple[np.ndarray, np.ndarray]:
    """The score of each text in each language (float32), and its bytes."""
    content, starts = utf8(texts)
    sizes = np.diff(starts)
    longest = int(sizes.max(initial=0))
    scores = np.zeros((len(texts), len(model.languages)), dtype=np.float32)
    logs = np.log1p(np.arange(longest + 1)).astype(np.float32)
    counts = np.zeros(len(model.weights), dtype=np.int32)
    found = np.empty(longest, dtype=np.int32)
    given = (content, starts, len(texts), model.moves, model.row, model.feature, model.weights)
    more = (model.priors, len(model.languages), logs, counts, found, scores)
    _library().fl_walk(
        *(value if isinstance(value, int) else value.ctypes.data for value in (*given, *more))
    )
    return scores, sizes


@cache
def _library() -> ctypes.CDLL:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    arguments = [pointer] * 2 + [number] + [pointer] * 5 + [number] + [pointer] * 4
    return load_library(LIBRARY, {"fl_walk": arguments}, set())
