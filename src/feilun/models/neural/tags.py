"""Entities as tags of tokens, and back.

A text's tokens are tagged O (0), or for the i-th label B (1 + 2i: an entity begins) and I
(2 + 2i: it goes on). Decoding is exact over all sequences in which an I follows a B or an I of
its own label: the linear chain of Lafferty, McCallum and Pereira (ICML 2001) whose transitions
are a network's own, or all alike where it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from feilun.tasks.task import Entity

FORBIDDEN = -1e4
LONGEST = 512
"""Tokens decoded in one go; a longer text is cut where it is surest to be outside."""
MARGIN = 64


class Chain(NamedTuple):
    """Scores of a sequence beside its tags' own, float64: of neighbours `[from, to]`, of its
    first tag and of its last."""

    between: np.ndarray
    start: np.ndarray
    end: np.ndarray


def names(labels: Sequence[str]) -> tuple[str, ...]:
    """The tags' names in their order."""
    return ("O", *(f"{part}-{label}" for label in labels for part in "BI"))


def chain(tags: int, learnt: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None) -> Chain:
    """The chain of so many tags, with what a network learnt of it (between, start, end)."""
    if learnt is None:
        learnt = (np.zeros((tags, tags)), np.zeros(tags), np.zeros(tags))
    between, start, end = (part.astype(np.float64).copy() for part in learnt)
    for inside in range(2, tags, 2):
        allowed = np.zeros(tags, dtype=bool)
        allowed[[inside - 1, inside]] = True
        between[~allowed, inside] = FORBIDDEN
        start[inside] = FORBIDDEN
    return Chain(between, start, end)


def tagged(
    begin: np.ndarray,
    end: np.ndarray,
    start: np.ndarray,
    spans: Sequence[Sequence[tuple[int, int, int]]],
) -> np.ndarray:
    """The tag of every token, int64: tokens stand at `begin` to `end` of their text, text i's
    are those from `start[i]` to `start[i + 1]`, and its spans (first code point, last + 1,
    number of the label) are sorted and apart. A token in two spans is of the first."""
    flat = [(i, *span) for i, of_text in enumerate(spans) for span in of_text]
    tags = np.zeros(len(begin), dtype=np.int64)
    if not flat or not len(begin):
        return tags
    whose, first, last, label = np.array(flat, dtype=np.int64).T
    # Every text in a stretch of its own on one line of code points.
    room = int(max(end.max(), last.max())) + 1
    line = np.repeat(np.arange(len(start) - 1), np.diff(start)) * room
    first, last = first + whose * room, last + whose * room
    near = np.minimum(np.searchsorted(last, begin + line, side="right"), len(last) - 1)
    inside = (begin + line < last[near]) & (end + line > first[near]) & (end > begin)
    near = np.where(inside, near, -1)
    begins = near != np.concatenate([[-1], near[:-1]])
    tags[inside] = 2 + 2 * label[near[inside]] - begins[inside]
    return tags


def decoded(
    logits: np.ndarray,
    place: tuple[np.ndarray, np.ndarray],
    given: Chain,
    labels: Sequence[str],
) -> list[Entity]:
    """The entities of one text, from its tokens' logits `[tokens, tags]` and places (begin,
    end). `score` is the probability of the entity's tags among all sequences."""
    return several([logits], [place], given, labels)[0]


def several(
    logits: Sequence[np.ndarray],
    places: Sequence[tuple[np.ndarray, np.ndarray]],
    given: Chain,
    labels: Sequence[str],
) -> list[list[Entity]]:
    """`decoded` of several texts at once."""
    owner: list[int] = []
    cuts: list[tuple[int, int]] = []
    for i, of_text in enumerate(logits):
        for a, b in _cut(of_text):
            owner.append(i)
            cuts.append((a, b))
    found: list[list[Entity]] = [[] for _ in logits]
    order = sorted(range(len(cuts)), key=lambda k: cuts[k][1] - cuts[k][0])
    for at in range(0, len(order), 64):
        rows = order[at : at + 64]
        parts = [logits[owner[k]][slice(*cuts[k])] for k in rows]
        ends = [cuts[k][1] == len(logits[owner[k]]) for k in rows]
        begins = [cuts[k][0] == 0 for k in rows]
        for k, (path, log_of) in zip(rows, _best(parts, begins, ends, given), strict=True):
            begin, end = places[owner[k]]
            offset = cuts[k][0]
            for a, b, label in stretches(path):
                score = float(np.exp(min(log_of(a, b), 0.0)))
                where = int(begin[offset + a]), int(end[offset + b - 1])
                found[owner[k]].append(Entity(*where, labels[label], score))
    return [_apart(sorted(entities)) for entities in found]


def _apart(entities: list[Entity]) -> list[Entity]:
    """Without those that overlap the one before: tokens may share a code point."""
    kept: list[Entity] = []
    for entity in entities:
        if entity.end > entity.start and (not kept or entity.start >= kept[-1].end):
            kept.append(entity)
    return kept


def _cut(logits: np.ndarray) -> list[tuple[int, int]]:
    """Stretches of at most `LONGEST` tokens, cut before the token surest to be outside."""
    outside = logits[:, 0] - logits[:, 1:].max(axis=1) if logits.shape[1] > 1 else logits[:, 0]
    cuts, at = [], 0
    while len(logits) - at > LONGEST:
        low = at + LONGEST - MARGIN
        end = low + int(outside[low : at + LONGEST].argmax())
        cuts.append((at, end))
        at = end
    return [*cuts, (at, len(logits))] if len(logits) > at else cuts


def stretches(path: np.ndarray) -> list[tuple[int, int, int]]:
    """Entities in a sequence of tags: first token, last + 1, number of the label."""
    begins = np.flatnonzero((path > 0) & (path % 2 == 1))
    goes_on = (path > 0) & (path % 2 == 0)
    ends = np.flatnonzero(~np.concatenate([goes_on, [False]]))
    last = ends[np.searchsorted(ends, begins + 1)]
    return [(int(a), int(b), int(path[a] - 1) // 2) for a, b in zip(begins, last, strict=True)]


def _best(
    parts: list[np.ndarray], begins: list[bool], ends: list[bool], given: Chain
) -> list[tuple[np.ndarray, Callable[[int, int], float]]]:
    """Of each stretch of logits the best sequence of tags, and a function that gives the log
    probability of an entity from one token to another (last + 1) of it."""
    lengths = np.array([len(part) for part in parts])
    tags = parts[0].shape[1]
    own = np.zeros((len(parts), lengths.max(), tags))
    for row, part in enumerate(parts):
        own[row, : len(part)] = part
    # Only the text's own ends count; where it was cut, an entity may not begin in its middle.
    hard = np.where(given.start <= FORBIDDEN / 2, FORBIDDEN, 0.0)
    first = np.where(np.array(begins)[:, None], given.start, hard)
    last = np.where(np.array(ends)[:, None], given.end, 0.0)
    real = np.arange(own.shape[1])[None, :] < lengths[:, None]
    paths = _viterbi(own, real, first, last, given.between)
    forward, backward = _sums(own, real, first, last, given.between)
    total = _lse(forward[np.arange(len(parts)), lengths - 1] + last, axis=1)

    def of_row(row: int) -> Callable[[int, int], float]:
        def log_of(a: int, b: int) -> float:
            path = paths[row, a:b]
            value = forward[row, a, path[0]]
            value += own[row, np.arange(a + 1, b), path[1:]].sum()
            value += given.between[path[:-1], path[1:]].sum()
            if b == lengths[row]:
                return float(value + last[row, path[-1]] - total[row])
            after = given.between[path[-1]] + own[row, b] + backward[row, b]
            after = np.delete(after, path[0] + 1)  # going on would make another entity
            return float(value + _lse(after, axis=0) - total[row])

        return log_of

    return [(paths[row, : lengths[row]], of_row(row)) for row in range(len(parts))]


def _viterbi(
    own: np.ndarray, real: np.ndarray, first: np.ndarray, last: np.ndarray, between: np.ndarray
) -> np.ndarray:
    """The best tags `[rows, tokens]`; of sequences that score alike, one with lower tags."""
    rows, tokens, tags = own.shape
    came = np.tile(np.arange(tags), (tokens, rows, 1))
    reached = own[:, 0] + first
    for i in range(1, tokens):
        paths = reached[:, :, None] + between
        on = real[:, i, None]
        came[i] = np.where(on, paths.argmax(axis=1), came[i])
        reached = np.where(on, paths.max(axis=1) + own[:, i], reached)
    best = np.empty((rows, tokens), dtype=np.int64)
    best[:, -1] = (reached + last).argmax(axis=1)
    for i in range(tokens - 1, 0, -1):
        best[:, i - 1] = came[i][np.arange(rows), best[:, i]]
    return best


def _sums(
    own: np.ndarray, real: np.ndarray, first: np.ndarray, last: np.ndarray, between: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The logs of the sums over all sequences up to and with each token, and after it:
    forward and backward, `[rows, tokens, tags]`."""
    forward, backward = np.empty_like(own), np.empty_like(own)
    forward[:, 0] = own[:, 0] + first
    for i in range(1, own.shape[1]):
        on = _lse(forward[:, i - 1, :, None] + between, axis=1) + own[:, i]
        forward[:, i] = np.where(real[:, i, None], on, forward[:, i - 1])
    backward[:, -1] = last
    for i in range(own.shape[1] - 2, -1, -1):
        on = _lse(between + (own[:, i + 1] + backward[:, i + 1])[:, None, :], axis=2)
        backward[:, i] = np.where(real[:, i + 1, None], on, last)
    return forward, backward


def _lse(values: np.ndarray, axis: int) -> np.ndarray:
    top = values.max(axis=axis, keepdims=True)
    summed = np.log(np.exp(values - top).sum(axis=axis, keepdims=True)) + top
    result: np.ndarray = summed.squeeze(axis)
    return result
