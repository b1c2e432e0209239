"""What the live model was trained and held to, as histograms: windows are compared with it.

It holds sums over many texts (shares of bins and of hashed n-grams) and the laws of the
statistics; no text, no vector of a single text and no identifier is in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from feilun.stages.monitor import grams
from feilun.stages.monitor.distance import Distance, distance, scale
from feilun.stages.monitor.null import FEWEST, Null, fitted

VERSION = "1"
"""Of the file; another one is made anew."""
BINS = 16
"""Of a column of numbers, most; each holds the same share of the reference."""
MOST_NAMES = 64
"""Of a column of names; the rest count as one."""
RARE_LANGUAGE = 0.001
"""A share of the training texts; a language below it is not known."""
OTHER = ""
"""Stands for every name that is not listed, and for none."""


class Compared(NamedTuple):
    """A window against the reference: the `distance`, its `threshold` (the same unit) and the
    chance that a window of the same kind is as far away."""

    distance: float
    threshold: float
    chance: float
    num_rows: int

    @property
    def moved(self) -> bool:
        """Whether it is further away than the threshold."""
        return self.distance > self.threshold


class Column(NamedTuple):
    """One thing that rows are compared in: `kind` of the statistic; `shares`, the means of the
    reference's `num_rows` rows; `edges` between the bins of a number, or `names`, or neither (a
    text's n-grams); and the statistic's law without a difference."""

    kind: Distance
    shares: np.ndarray
    num_rows: int
    null: Null
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()

    def compared(self, values: Sequence[Any], alpha: float) -> Compared | None:
        """The rows' values against the reference, at the false-alarm rate `alpha`; None when
        there are fewer than `FEWEST`."""
        num = len(values)
        if num < FEWEST:
            return None
        means = _rows(self.kind, self.edges, self.names, values).mean(axis=0, dtype=np.float64)
        found = float(distance(self.kind, means, self.shares, num, self.num_rows))
        unit = scale(self.kind, num, self.num_rows)
        threshold = self.null.threshold(alpha, num) / unit
        return Compared(found, threshold, self.null.chance(found * unit, num), num)


def numbers(kind: Distance, values: Sequence[float], seed: int) -> Column | None:
    """A column of numbers; None where they are too few, or all the same."""
    if len(values) < FEWEST:
        return None
    inner = np.quantile(np.asarray(values, dtype=np.float64), np.linspace(0, 1, BINS + 1)[1:-1])
    edges = tuple(float(edge) for edge in np.unique(inner))
    if min(values) == max(values):
        return None
    return _column(kind, values, edges, (), seed)


def named(kind: Distance, values: Sequence[Sequence[str]], seed: int) -> Column | None:
    """A column of names, of which a row may have several or none; None where rows are too few."""
    if len(values) < FEWEST:
        return None
    counts: dict[str, int] = {}
    for row in values:
        for name in row:
            counts[name] = counts.get(name, 0) + 1
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return _column(kind, values, (), (*ranked[:MOST_NAMES], OTHER), seed)


def texts(values: Sequence[str], seed: int) -> Column | None:
    """A column of texts, by their n-grams; None where there are too few."""
    return _column(Distance.MMD, values, (), (), seed) if len(values) >= FEWEST else None


def _column(
    kind: Distance,
    values: Sequence[Any],
    edges: tuple[float, ...],
    names: tuple[str, ...],
    seed: int,
) -> Column:
    rows = _rows(kind, edges, names, values)
    # Drawn from are the first rows: in no order that means anything.
    order = np.random.default_rng(seed).permutation(len(rows))
    null = fitted(kind, rows[order], len(rows), seed)
    return Column(kind, rows.mean(axis=0, dtype=np.float64), len(rows), null, edges, names)


def _rows(
    kind: Distance, edges: tuple[float, ...], names: tuple[str, ...], values: Sequence[Any]
) -> np.ndarray:
    if names:
        places = {name: at for at, name in enumerate(names)}
        made = np.zeros((len(values), len(names)), dtype=np.float32)
        for row, given in enumerate(values):
            for name in given or (OTHER,):
                made[row, places.get(name, len(names) - 1)] = 1
        return made
    if edges:
        place = np.searchsorted(edges, np.asarray(values, dtype=np.float64), side="right")
        bins = np.arange(len(edges) + 1)
        inside = place[:, None] <= bins if kind is Distance.KS else place[:, None] == bins
        return np.asarray(inside, dtype=np.float32)
    return grams.rows(values)


class HeldOut(NamedTuple):
    """What the model answered to texts that it did not learn from: `answers` as they are written,
    `labels` in each, `scores`, and the `truth` where it is one label per text."""

    texts: Sequence[str]
    languages: Sequence[str]
    answers: Sequence[str | None]
    labels: Sequence[Sequence[str]]
    scores: Sequence[float]
    truth: Sequence[str]


class Reference(NamedTuple):
    """Everything that windows are compared with.

    `columns`: `inputs`, `characters` and `language` of training texts; `labels` or `value` and
    `scores` of answers to held-out texts. `rare` and `unknown_above` tell an unknown text, and of
    `unknown_of` held-out texts `unknown` were. `confusion[i, j]`: held-out texts whose truth is
    `classes[i]` and whose answer is `classes[j]` (the last column: none); None where an answer is
    not one label.
    """

    model: str
    columns: dict[str, Column]
    rare: np.ndarray
    unknown_above: float
    unknown: int
    unknown_of: int
    languages: tuple[str, ...]
    classes: tuple[str, ...] = ()
    confusion: np.ndarray | None = None

    def unknown_texts(self, given: Sequence[str], languages: Sequence[str]) -> np.ndarray:
        """Of each text (and its language), whether it is unlike all that the model was trained
        on: bool `[len(given)]`."""
        strange = grams.surprise(given, self.rare) > self.unknown_above
        known = set(self.languages)
        foreign = [language not in known for language in languages]
        return np.asarray(strange | np.array(foreign, dtype=bool))

    def saved(self) -> bytes:
        """The file, in the format safetensors."""
        tensors = {"rare": self.rare.astype(np.float16)}
        columns = {}
        for name, column in self.columns.items():
            tensors[f"{name}.shares"] = np.ascontiguousarray(column.shares)
            tensors[f"{name}.null"] = np.ascontiguousarray(column.null.table)
            columns[name] = {
                "kind": column.kind.value,
                "num_rows": column.num_rows,
                "edges": column.edges,
                "names": column.names,
            }
        if self.confusion is not None:
            tensors["confusion"] = np.ascontiguousarray(self.confusion)
        plain = {
            name: getattr(self, name)
            for name in (
                "model", "unknown_above", "unknown", "unknown_of", "languages", "classes",
            )
        }  # fmt: skip
        said = json.dumps({"version": VERSION, **plain, "columns": columns}, ensure_ascii=False)
        # One entry: safetensors writes several in any order.
        return bytes(save_tensors(tensors, {"reference": said}))

    @classmethod
    def read(cls, content: bytes) -> Self:
        """What `saved` wrote; raises `ValueError` where it is nothing of the kind."""
        try:
            length = int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8 : 8 + length])["__metadata__"]
            said = json.loads(metadata["reference"])
            if said.pop("version") != VERSION:
                raise ValueError(VERSION)
            tensors = load_tensors(content)
            columns = {
                name: Column(
                    Distance(one["kind"]),
                    tensors[f"{name}.shares"],
                    one["num_rows"],
                    Null(tensors[f"{name}.null"]),
                    tuple(one["edges"]),
                    tuple(one["names"]),
                )
                for name, one in said.pop("columns").items()
            }
            listed: dict[str, Any] = {
                name: tuple(said.pop(name)) for name in ("languages", "classes")
            }
            rare = tensors["rare"].astype(np.float32)
            confusion = tensors.get("confusion")
            return cls(**said, **listed, columns=columns, rare=rare, confusion=confusion)
        except Exception as error:
            # safetensors has an error class of its own, which derives from Exception alone.
            raise ValueError(f"no reference: {error}") from error


def measured(
    model: str,
    trained: Sequence[str],
    languages: Sequence[str],
    held: HeldOut,
    unknown_rate: float,
    seed: int,
) -> Reference:
    """The reference of `model`: `trained` are texts of its training with their languages. Of the
    held-out texts the share `unknown_rate` is further out than `unknown_above`."""
    columns = {
        "inputs": texts(trained, seed),
        "characters": numbers(Distance.PSI, [len(text) for text in trained], seed),
        "language": named(Distance.PSI, [(language,) for language in languages], seed),
        "scores": numbers(Distance.KS, _answered(held), seed),
    }
    values = [_number(answer) for answer in held.answers]
    if held.labels:
        columns["labels"] = named(Distance.JS, held.labels, seed)
    else:
        columns["value"] = numbers(Distance.KS, [one for one in values if one is not None], seed)
    share = {name: languages.count(name) / len(languages) for name in set(languages)}
    known = tuple(sorted(name for name, part in share.items() if part >= RARE_LANGUAGE))
    rare = grams.rarity(trained).astype(np.float16).astype(np.float32)
    classes, confusion = _confusion(held)
    made = Reference(
        model,
        {name: column for name, column in columns.items() if column is not None},
        rare,
        _above(grams.surprise(held.texts, rare), unknown_rate),
        0,
        len(held.texts),
        known,
        classes,
        confusion,
    )
    return made._replace(unknown=int(made.unknown_texts(held.texts, held.languages).sum()))


def _answered(held: HeldOut) -> list[float]:
    pairs = zip(held.answers, held.scores, strict=True)
    return [score for answer, score in pairs if answer is not None]


def _number(written: str | None) -> float | None:
    try:
        return None if written is None else float(written)
    except ValueError:
        return None


def _above(found: np.ndarray, rate: float) -> float:
    return float(np.quantile(found, 1 - rate, method="higher")) if len(found) else float("inf")


def _confusion(held: HeldOut) -> tuple[tuple[str, ...], np.ndarray | None]:
    if not held.truth:
        return (), None
    answered: Iterable[str] = (answer for answer in held.answers if answer is not None)
    classes = tuple(sorted({*held.truth, *answered}))
    place = {name: at for at, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes) + 1))
    for truth, answer in zip(held.truth, held.answers, strict=True):
        counts[place[truth], len(classes) if answer is None else place[answer]] += 1
    return classes, counts
