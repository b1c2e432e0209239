"""Exact tests of shares, and what many of them may claim together."""

from __future__ import annotations

import math
from collections.abc import Sequence


def more_often(hits: int, total: int, other_hits: int, other_total: int) -> float:
    """The p-value of Fisher's exact test that `hits` of `total` is a larger share than
    `other_hits` of `other_total`: the chance of as many hits, were both of one kind."""
    drawn, marked, every = total, hits + other_hits, total + other_total
    most = min(drawn, marked)
    if hits <= max(0, drawn + marked - every):
        return 1.0
    whole = _choose(every, drawn)
    terms = [
        _choose(marked, count) + _choose(every - marked, drawn - count) - whole
        for count in range(hits, most + 1)
    ]
    top = max(terms)
    return min(1.0, math.exp(top) * math.fsum(math.exp(term - top) for term in terms))


def at_least(hits: int, total: int, share: float) -> float:
    """The chance of so many hits in `total` tries or more, each of which hits with `share`."""
    if hits <= 0:
        return 1.0
    if hits > total or share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    hit, miss = math.log(share), math.log1p(-share)
    terms = [
        _choose(total, count) + count * hit + (total - count) * miss
        for count in range(hits, total + 1)
    ]
    top = max(terms)
    return min(1.0, math.exp(top) * math.fsum(math.exp(term - top) for term in terms))


def discoveries(chances: Sequence[float], share: float) -> list[bool]:
    """Which of the p-values stand out, so that in expectation at most `share` of those that do
    are chance (Benjamini and Hochberg, Controlling the false discovery rate, 1995)."""
    order = sorted(range(len(chances)), key=lambda at: chances[at])
    last = 0
    for place, at in enumerate(order, start=1):
        if chances[at] <= share * place / len(chances):
            last = place
    chosen = set(order[:last])
    return [at in chosen for at in range(len(chances))]


def _choose(many: int, few: int) -> float:
    """The logarithm of the binomial coefficient."""
    return math.lgamma(many + 1) - math.lgamma(few + 1) - math.lgamma(many - few + 1)
