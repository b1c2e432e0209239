"""From texts with entities to a tagger: a linear-chain conditional random field, trained with
AdaGrad on its likelihood.

What keeps it from learning the training texts by heart is that a unit whose right tag already
has a probability above 1 - `LEAST` is let be (entity F1 was 1 to 2 points higher than without,
and a penalty on the weights, dropout of features, or the mean of the weights over the training
added nothing), that few passes are made, and that rare features are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from feilun.models.family import LabelUnknown, NothingToLearn
from feilun.models.ngram import crf, native
from feilun.models.ngram.units import Characters, characters, traits
from feilun.tasks.spans import Span, fault
from feilun.tasks.tag import BadSpans

Kind = Literal["auto", "characters", "words"]
Spans = Sequence[Sequence[tuple[Any, ...]]]
"""Of each text its entities: start, end and label of each, in code points."""

RATE = 0.1
LEAST = 0.02
TELLING = 0.05
"""A feature none of whose weights is larger is left out: three of four, without a change in F1."""
PIECE = 300
"""Characters of a training text learnt in one step, about."""
HELD_OUT = 20
"""One piece in so many is held out to know when to stop..."""
FEW_PIECES = 10_000
"""...but none of fewer: all passes over them take seconds, and are no worse than a few (entity F1
with 4,000 sentences was 0.5 points higher than with a part held out)."""
PATIENCE, BETTER = 2, 0.998
"""It stops after so many passes in which the loss did not come below this much of its lowest."""
CUT = 0.01
"""With `auto`, units are characters when more than this share of the entities cut a word."""
KEYS_AT_ONCE = 4_000_000
PROBE_CHARACTERS = 20_000

_ENDS = frozenset("。！？!?；;\n")


class TagPlan(NamedTuple):
    """The settings of `Ngram` that training a tagger reads."""

    units: Kind = "auto"
    min_count: int = 2
    max_epochs: int = 15
    seed: int = 0


class TrainedTagger(NamedTuple):
    """A tagger: feature i has keys[i] and the row weights[i] (int16, times `scale`); `links` are
    the weights of the transitions. `units` is what `auto` chose; `epochs` were made, and `loss`
    is that of a held-out unit at the end (NaN: none was held out)."""

    keys: np.ndarray
    weights: np.ndarray
    links: np.ndarray
    scale: float
    labels: tuple[str, ...]
    units: Literal["characters", "words"]
    epochs: int
    loss: float

    @property
    def num_features(self) -> int:
        """How many features it knows."""
        return len(self.keys)


class _Pieces(NamedTuple):
    texts: list[str]
    spans: list[list[Span]]


def train_tagger(
    texts: Sequence[str],
    spans: Spans,
    labels: Sequence[str],
    plan: TagPlan,
    tell: Callable[[int, int], None],
    held_out: tuple[Sequence[str], Spans] | None = None,
) -> TrainedTagger:
    """A tagger of `labels` from texts and their entities; `tell(done, total)` is called after
    each pass. It stops when the loss on `held_out` no longer falls, or on a part of the texts
    that the seed chooses. On one thread: the same bytes for the same arguments.

    A span is trimmed to whole units (white space at its ends; in `words`, grown to the words it
    cuts). Raises `BadSpans`, `LabelUnknown`, or `NothingToLearn` when no text has a unit.
    """
    pieces = _pieces(texts, spans, labels)
    order, held = _parted(len(pieces.texts), plan.seed)
    if held_out is not None and held_out[0]:
        more = _pieces(*held_out, labels)
        num = len(pieces.texts)
        pieces = _Pieces(pieces.texts + more.texts, pieces.spans + more.spans)
        order, held = native.shuffled(num, plan.seed), np.arange(num, len(pieces.texts))
    order, held = np.sort(order), held.astype(np.int32)
    chars = characters(pieces.texts)
    units = _chosen(plan.units, chars, pieces.spans)
    plain = crf.Reader(units == "words")
    found = crf.units(plain, chars)
    if not found.sizes[order].any():
        raise NothingToLearn(len(texts))
    learnt = characters([pieces.texts[i] for i in order])
    reader = crf.Reader(units == "words", frequent(plain, learnt, plan.min_count))
    lesson = _lesson(chars, found, pieces.spans, labels)
    learner, epochs, loss = _learnt(reader, len(labels), lesson, (order, held), plan, tell)
    weights, links, scale, kept = _packed(learner, len(labels), crf.own(reader, learnt))
    return TrainedTagger(
        reader.features[kept], weights, links, scale, tuple(labels), units, epochs,
        loss / max(int(found.sizes[held].sum()), 1),
    )  # fmt: skip


def tagger_seconds(
    texts: Sequence[str], spans: Spans, labels: Sequence[str], plan: TagPlan
) -> float:
    """The seconds that `train_tagger` would take at most, from training on a few of the texts:
    the time is linear in their characters. Many texts take less, because passes are left out."""
    total = sum(map(len, texts))
    every = max(total // PROBE_CHARACTERS, 1)
    sample = sum(map(len, texts[::every]))
    if not any(text.strip() for text in texts[::every]):
        return 0.0
    traits()  # once in a process, and no part of what grows with the texts
    start = time.perf_counter()
    train_tagger(texts[::every], spans[::every], labels, plan, lambda _done, _total: None)
    return (time.perf_counter() - start) * total / sample


def frequent(reader: crf.Reader, chars: Characters, least: int) -> np.ndarray:
    """The keys (uint32) that occur at least `least` times in the texts, the most frequent first:
    most of the weights a text needs are then in the cache."""
    bits = int(np.clip(len(chars.points) * crf.MOST_FEATURES, 2**16, 2**26)).bit_length() - 1
    counts = crf.count(reader, chars, bits)
    # What is below `least` in this table is so alone; the rest is counted exactly, in parts.
    num_parts = len(chars.points) * crf.MOST_FEATURES // KEYS_AT_ONCE + 1
    parts = [
        np.unique(crf.keys(reader, chars, first, last, counts, least), return_counts=True)
        for first, last in native.shares(chars.num, num_parts)
    ]
    keys, place = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    sums = np.bincount(place, np.concatenate([part[1] for part in parts]), minlength=len(keys))
    keys, sums = keys[sums >= least], sums[sums >= least]
    result: np.ndarray = keys[np.argsort(-sums, kind="stable")]
    return result


def _learnt(
    reader: crf.Reader,
    num_labels: int,
    lesson: crf.Lesson,
    parts: tuple[np.ndarray, np.ndarray],
    plan: TagPlan,
    tell: Callable[[int, int], None],
) -> tuple[crf.Learner, int, float]:
    """The weights, the passes made, and the loss on the held-out texts (NaN without any)."""
    order, held = parts
    chain = crf.Chain(num_labels)
    weights = np.zeros((reader.num_features, chain.stride), dtype=np.float32)
    links = np.zeros(chain.num_links, dtype=np.float32)
    learner = crf.Learner(weights, np.zeros_like(weights), links, np.zeros_like(links), RATE, LEAST)
    epoch, lowest, since, loss = 0, float("inf"), 0, float("nan")
    while epoch < plan.max_epochs and since < PATIENCE:
        epoch += 1
        mixed = order[native.shuffled(len(order), plan.seed + epoch)]
        crf.learn(reader, chain, learner, lesson, mixed)
        if len(held):
            loss = crf.loss(reader, chain, learner, lesson, held)
            since = 0 if loss < BETTER * lowest else since + 1
            lowest = min(lowest, loss)
        tell(epoch, plan.max_epochs)
    return learner, epoch, loss


def _packed(
    learner: crf.Learner, num_labels: int, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Weights as int16 [kept, tags], links, scale, and which features are kept: those that say
    something, and those (`own`) by which a text is known."""
    weights = learner.weights[:, : crf.Chain(num_labels).num_tags]
    kept = np.flatnonzero((np.abs(weights).max(axis=1) >= TELLING) | own)
    weights = weights[kept]
    scale = np.float32(max(np.abs(weights).max(initial=0.0), TELLING) / np.iinfo(np.int16).max)
    packed = np.rint(weights / scale).clip(-32767, 32767).astype(np.int16)
    return packed, learner.links, float(scale), kept


def _parted(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = native.shuffled(num, seed)
    first = num // HELD_OUT if num >= FEW_PIECES else 0
    return order[first:], order[:first]


def _chosen(
    kind: Kind, chars: Characters, spans: Sequence[Sequence[Span]]
) -> Literal["characters", "words"]:
    if kind != "auto":
        return kind
    units = crf.units(crf.Reader(grouped=True), chars)
    ends = np.cumsum(units.sizes)
    cut = total = 0
    for i, row in enumerate(spans):
        if row:
            first, last = ends[i] - units.sizes[i], ends[i]
            begins, stops = units.begins[first:last], units.ends[first:last]
            at = np.array([place for start, end, _label in row for place in (start, end)])
            within = np.searchsorted(begins, at, "left") > np.searchsorted(stops, at, "right")
            cut, total = cut + int(within.reshape(-1, 2).any(axis=1).sum()), total + len(row)
    return "characters" if cut > CUT * total else "words"


def _lesson(
    chars: Characters, units: crf.Units, spans: Sequence[Sequence[Span]], labels: Sequence[str]
) -> crf.Lesson:
    """The tag of every unit; of two entities within one unit, the first."""
    base = {label: 1 + crf.ROLES * i for i, label in enumerate(labels)}
    truth = np.zeros(len(units.begins), dtype=np.int16)
    firsts = np.zeros(chars.num + 1, dtype=np.int64)
    np.cumsum(units.sizes, out=firsts[1:])
    for i, row in enumerate(spans):
        begins = units.begins[firsts[i] : firsts[i + 1]]
        ends = units.ends[firsts[i] : firsts[i + 1]]
        free = 0
        for start, end, label in row:
            first = max(int(np.searchsorted(ends, start, "right")), free)
            last = int(np.searchsorted(begins, end, "left"))
            if first >= last:
                continue
            tags = truth[firsts[i] + first : firsts[i] + last]
            tags[:] = base[label] + crf.INSIDE
            tags[0], tags[-1] = base[label] + crf.BEGIN, base[label] + crf.END
            if len(tags) == 1:
                tags[0] = base[label] + crf.SINGLE
            free = last
    return crf.Lesson(chars, firsts, truth)


def _pieces(texts: Sequence[str], spans: Spans, labels: Sequence[str]) -> _Pieces:
    """The texts cut into pieces of about `PIECE` characters, after the end of a sentence where
    there is one, and never within an entity."""
    known = set(labels)
    pieces = _Pieces([], [])
    for number, (text, given) in enumerate(zip(texts, spans, strict=True), start=1):
        row = sorted((start, end, label) for start, end, label, *_score in given)
        wrong = fault(row, len(text))
        if wrong is not None:
            raise BadSpans(str(number), *wrong)
        unknown = next((label for _start, _end, label in row if label not in known), None)
        if unknown is not None:
            raise LabelUnknown(unknown, labels)
        for start, end in _cuts(text, row):
            pieces.texts.append(text[start:end])
            inside = [s for s in row if start <= s[0] < end]
            pieces.spans.append([(s - start, e - start, label) for s, e, label in inside])
    return pieces


def _cuts(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Where the pieces of a text start and end."""
    found: list[tuple[int, int]] = []
    start = 0
    while len(text) - start > PIECE:
        end = start + PIECE
        while end > start + PIECE // 2 and text[end - 1] not in _ENDS:
            end -= 1
        if text[end - 1] not in _ENDS:
            end = start + PIECE
        within = next((s for s in spans if s[0] < end < s[1]), None)
        if within is not None:
            end = within[0] if within[0] > start else within[1]
        found.append((start, end))
        start = end
    return [*found, (start, len(text))]
