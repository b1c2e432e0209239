"""Entities as tags and back, against the enumeration of every sequence."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from feilun.models.neural import tags

LABELS = ("LOC", "PER")
TAGS = 5


def test_tags_of_tokens() -> None:
    begin = np.array([0, 1, 2, 3, 5, 0, 2, 4, 4])
    end = np.array([1, 2, 3, 5, 6, 2, 4, 4, 6])
    start = np.array([0, 5, 9])
    found = tags.tagged(begin, end, start, [[(0, 2, 0), (2, 4, 1)], [(1, 3, 1)]])
    # The fourth token stands half in the second entity; an empty token is outside.
    assert found.tolist() == [1, 2, 3, 4, 0, 3, 4, 0, 0]
    assert tags.tagged(begin, end, start, [[], []]).tolist() == [0] * 9
    assert tags.stretches(found[:5]) == [(0, 2, 0), (2, 4, 1)]
    assert tags.names(LABELS) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@pytest.mark.parametrize("learnt", [False, True])
def test_decoding_and_scores_are_those_of_the_enumeration(learnt: bool) -> None:
    random = np.random.default_rng(3)
    given = tags.chain(
        TAGS,
        (random.normal(size=(TAGS, TAGS)), random.normal(size=TAGS), random.normal(size=TAGS))
        if learnt
        else None,
    )
    texts = [random.normal(size=(n, TAGS)) * 2 for n in (1, 4, 5, 4)]
    spots = [(np.arange(len(t)), np.arange(len(t)) + 1) for t in texts]
    found = tags.several(texts, spots, given, LABELS)
    for logits, entities in zip(texts, found, strict=True):
        paths = {}
        for path in product(range(TAGS), repeat=len(logits)):
            score = given.start[path[0]] + given.end[path[-1]]
            score += sum(logits[i, tag] for i, tag in enumerate(path))
            paths[path] = np.exp(score + sum(given.between[a, b] for a, b in pairwise(path)))
        total = sum(paths.values())
        best = max(paths, key=lambda path: paths[path])
        wanted = tags.stretches(np.array(best))
        assert [(e.start, e.end, LABELS.index(e.label)) for e in entities] == wanted
        for entity, stretch in zip(entities, wanted, strict=True):
            having = sum(
                p for path, p in paths.items() if stretch in tags.stretches(np.array(path))
            )
            assert entity.score == pytest.approx(having / total, rel=1e-6)


def test_nothing_goes_on_that_did_not_begin() -> None:
    logits = np.zeros((3, TAGS))
    logits[:, 2] = 1.0
    logits[:, 4] = 0.9
    found = tags.decoded(logits, (np.arange(3), np.arange(3) + 1), tags.chain(TAGS), LABELS)
    assert [(e.start, e.end, e.label) for e in found] == [(0, 3, "LOC")]


def test_a_long_text_is_cut_where_nothing_stands() -> None:
    random = np.random.default_rng(1)
    path = np.tile([0, 0, 3, 4, 4, 0, 1], 400)
    logits = np.eye(TAGS)[path] * 8 + random.normal(size=(len(path), TAGS)) * 0.1
    spots = (np.arange(len(path)), np.arange(len(path)) + 1)
    found = tags.decoded(logits, spots, tags.chain(TAGS), LABELS)
    wanted = [(a, b, LABELS[label]) for a, b, label in tags.stretches(path)]
    assert [(e.start, e.end, e.label) for e in found] == wanted
    assert min(e.score for e in found) > 0.9
