"""Learning a unigram language model of pieces, in a fixed order.

(Kudo, "Subword regularization", ACL 2018.) Frequent strings are candidates; expectation
maximisation over the words finds how probable each piece is, and the least useful go until few
enough are left. Viterbi counts stand for the expected ones ("hard EM"): whole numbers add up to
the same in any order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

SEEDS = 4
"""Candidates per entry wanted."""
KEPT = 0.75
"""Of the pieces, kept by a round of pruning."""
ROUNDS = 2
"""Of expectation maximisation between two prunings."""
RAREST = 0.5
"""The count of a character that no segmentation uses."""


def learnt(
    words: Mapping[str, int],
    chars: Sequence[str],
    size: int,
    min_frequency: int = 2,
    longest: int = 16,
) -> list[tuple[str, float]]:
    """At most `size` pieces with their log-probabilities, the most probable first: all `chars`,
    and longer ones that make the `words` (with their counts) likely."""
    ordered = sorted(words.items())
    counts = _candidates(ordered, set(chars), size * SEEDS, min_frequency, longest)
    scores = _scores(counts, chars)
    while True:
        for _round in range(ROUNDS):
            counts = _counted(ordered, scores, longest)
            scores = _scores(counts, chars)
        if len(scores) <= size:
            break
        scores = _pruned(counts, scores, chars, max(int(len(scores) * KEPT), size), longest)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:size]


def _candidates(
    ordered: Sequence[tuple[str, int]], chars: set[str], most: int, least: int, longest: int
) -> dict[str, int]:
    """Strings that occur often, those that spell the most characters first; found length by
    length, for what is rare cannot be part of what is frequent."""
    found: Counter[str] = Counter()
    before = chars
    for length in range(2, longest + 1):
        here: Counter[str] = Counter()
        for word, count in ordered:
            for at in range(len(word) - length + 1):
                piece = word[at : at + length]
                if piece[:-1] in before and piece[-1] in chars:
                    here[piece] += count
        kept = {piece: count for piece, count in here.items() if count >= least}
        if not kept:
            break
        found.update(kept)
        before = set(kept)
    ranked = sorted(found.items(), key=lambda item: (-item[1] * len(item[0]), item[0]))[:most]
    single: Counter[str] = Counter()
    for word, count in ordered:
        for char in word:
            if char in chars:
                single[char] += count
    return dict(ranked) | dict(single)


def _scores(counts: Mapping[str, int], chars: Sequence[str]) -> dict[str, float]:
    """Log-probabilities of the pieces that are used, and of every character."""
    used = {piece: float(count) for piece, count in sorted(counts.items()) if count > 0}
    for char in chars:
        used.setdefault(char, RAREST)
    total = math.fsum(used.values())
    return {piece: math.log(count / total) for piece, count in used.items()}


def _counted(
    ordered: Sequence[tuple[str, int]], scores: Mapping[str, float], longest: int
) -> dict[str, int]:
    """How often each piece stands in the words' most probable segmentations."""
    counts: Counter[str] = Counter()
    for word, count in ordered:
        for piece in split(word, scores, longest):
            counts[piece] += count
    return dict(counts)


def split(word: str, scores: Mapping[str, float], longest: int) -> list[str]:
    """The most probable segmentation of `word`; characters that are no piece stand alone."""
    unknown = min(scores.values()) - 10.0
    best = [0.0] + [-math.inf] * len(word)
    back = [0] * (len(word) + 1)
    for end in range(1, len(word) + 1):
        for begin in range(max(0, end - longest), end):
            score = scores.get(word[begin:end], unknown if end - begin == 1 else -math.inf)
            if best[begin] + score > best[end]:
                best[end], back[end] = best[begin] + score, begin
    pieces: list[str] = []
    end = len(word)
    while end:
        pieces.append(word[back[end] : end])
        end = back[end]
    return pieces[::-1]


def _pruned(
    counts: Mapping[str, int],
    scores: Mapping[str, float],
    chars: Sequence[str],
    keep: int,
    longest: int,
) -> dict[str, float]:
    """The pieces without which the words would be the least likely; characters always stay."""
    single = set(chars)
    losses: list[tuple[float, str]] = []
    for piece, score in scores.items():
        if piece in single:
            continue
        others = {p: scores[p] for p in _inside(piece, scores, longest)}
        instead = math.fsum(others[part] for part in split(piece, others, longest - 1))
        losses.append((-(score - instead) * counts.get(piece, 0), piece))
    losses.sort()
    stay = {piece for _loss, piece in losses[: max(keep - len(single), 0)]}
    return {piece: score for piece, score in scores.items() if piece in single or piece in stay}


def _inside(piece: str, scores: Mapping[str, float], longest: int) -> list[str]:
    """The pieces that `piece` can be made of, itself apart."""
    parts = {
        piece[i:j]
        for i in range(len(piece))
        for j in range(i + 1, min(len(piece), i + longest) + 1)
    }
    return sorted(part for part in parts if part in scores and part != piece)
