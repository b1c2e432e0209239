"""Rules that need no model: what a person would write down in an afternoon.

`classify`: for each label the word or run of characters that tells it best; `tag`: a list of
the entities that were seen; `match`: how much of their characters two texts share. Each is
learnt from training records and asked of others, as models are.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.models import Lesson
from feilun.tasks import LABEL_SEPARATOR, Classify, Match, Tag
from feilun.tasks.spans import Span, written

MOST_RECORDS, CANDIDATES, LONGEST = 5_000, 1_000, 300
"""Records a rule is sought in, those its keywords may come from, and characters of each that are
read: every run of characters is counted, and that must not fill the memory."""
FEWEST_TEXTS = 3
_RUNS = re.compile(r"[^\W\d_a-z]+|[a-z0-9]+", re.IGNORECASE)
_SHOWN = 3


class Rule(NamedTuple):
    """A rule's answers to the validation records, and what the rule is."""

    answers: list[str | None]
    what: Message


def rule(lesson: Lesson) -> Rule | None:
    """The best rule of its kind for the lesson's task; None where there is no kind (`regress`),
    or nothing was found."""
    train = lesson.train.filter(lesson.task.labelled()).head(MOST_RECORDS)
    if isinstance(lesson.task, Classify):
        return _keywords(lesson, lesson.task, train)
    if isinstance(lesson.task, Tag):
        return _names(lesson, lesson.task, train)
    if isinstance(lesson.task, Match):
        return _overlap(lesson, lesson.task, train)
    return None


# classify


def _keywords(lesson: Lesson, task: Classify, train: pl.DataFrame) -> Rule | None:
    """Whoever's keyword is in the text has it, the surest first; else the trivial answer."""
    rows = [_labels(task, one) for one in task.truth(train)]
    given = train["text"].fill_null("").to_list()
    met: Counter[str] = Counter()
    for text in given[:CANDIDATES]:
        met.update(set(grams(text)))
    known = {gram for gram, count in met.items() if count > 1}
    texts = [known.intersection(grams(text)) for text in given]
    with_gram: Counter[str] = Counter()
    with_both: defaultdict[str, Counter[str]] = defaultdict(Counter)
    with_label: Counter[str] = Counter()
    for found, labels in zip(texts, rows, strict=True):
        with_gram.update(found)
        with_label.update(labels)
        for label in labels:
            with_both[label].update(found)
    default = task.trivial(task.truth(train))
    keywords: list[tuple[float, str, str]] = []
    for label in sorted(with_label):
        # What is won over the trivial answer; of labels that do not exclude each other, the F1.
        best = max(
            (
                (
                    2 * both / (with_gram[gram] + with_label[label])
                    if task.multiple
                    else both - with_both[default][gram],
                    -abs(len(gram) - 2),
                    gram,
                )
                for gram, both in with_both[label].items()
                if both >= FEWEST_TEXTS
            ),
            default=None,
        )
        if best is not None and best[0] > 0:
            gram = best[2]
            keywords.append((with_both[label][gram] / with_gram[gram], label, gram))
    keywords.sort(key=lambda one: (-one[0], one[1]))
    if not keywords:
        return None
    answers: list[str | None] = []
    for text in lesson.validation["text"].fill_null(""):
        found = set(grams(text))
        held = [label for _sure, label, gram in keywords if gram in found]
        if task.multiple:
            answers.append(LABEL_SEPARATOR.join(sorted(set(held))) if held else default)
        else:
            answers.append(held[0] if held else default)
    shown = ", ".join(f"{gram} → {label}" for _sure, label, gram in keywords[:_SHOWN])
    more = ", …" if len(keywords) > _SHOWN else ""
    template = N_("a keyword for each label ({keywords}; else {default})")
    values = {"keywords": shown + more, "default": default}
    return Rule(answers, Message(template=template, values=values))


def _labels(task: Classify, written_label: str) -> list[str]:
    return task.counted(written_label)


def grams(text: str) -> Iterator[str]:
    """Words and pairs of words, in lower case; of scripts without spaces, runs of one to four
    characters."""
    before = ""
    for run in _RUNS.findall(text[:LONGEST].lower()):
        if run[0] < "\u2e80":
            yield run
            if before:
                yield f"{before} {run}"
            before = run
            continue
        before = ""
        for length in (1, 2, 3, 4):
            for at in range(len(run) - length + 1):
                yield run[at : at + length]


# tag


def _names(lesson: Lesson, task: Tag, train: pl.DataFrame) -> Rule | None:
    """What was marked in most of the places where it stands is marked; the longest first."""
    marked: defaultdict[str, Counter[str]] = defaultdict(Counter)
    texts = train["text"].to_list()
    for text, spans in zip(texts, task.entities(train), strict=True):
        for start, end, label in spans:
            marked[text[start:end]][label] += 1
    if not marked:
        return None
    seen: Counter[str] = Counter()
    lengths = _lengths(marked)
    for text in texts:
        seen.update(name for _start, name in _found(text, marked, lengths))
    sure = {
        name: labels.most_common(1)[0][0]
        for name, labels in marked.items()
        if 2 * labels.total() >= seen[name]
    }
    lengths = _lengths(sure)
    answers: list[str | None] = []
    for text in lesson.validation["text"].to_list():
        spans_found: list[Span] = [
            (start, start + len(name), sure[name]) for start, name in _found(text, sure, lengths)
        ]
        answers.append(written(spans_found))
    template = N_("a list of the {count} names that were seen")
    return Rule(answers, Message(template=template, values={"count": len(sure)}))


def _lengths(names: Collection[str]) -> dict[str, list[int]]:
    """By their first character, how long names are, the longest first."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for name in names:
        found[name[0]].add(len(name))
    return {first: sorted(lengths, reverse=True) for first, lengths in found.items()}


def _found(
    text: str, names: Container[str], lengths: dict[str, list[int]]
) -> Iterator[tuple[int, str]]:
    """Where a name stands, from the left, the longest at each place; none within another."""
    at = 0
    while at < len(text):
        for length in lengths.get(text[at], ()):
            name = text[at : at + length]
            if name in names:
                yield at, name
                at += len(name)
                break
        else:
            at += 1


# match


def _overlap(lesson: Lesson, task: Match, train: pl.DataFrame) -> Rule | None:
    """Pairs that share enough of their characters' pairs are the same."""
    if len(lesson.labels) != 2:
        return None
    same = task.positive(lesson.labels)
    other = next(label for label in lesson.labels if label != same)
    alike = _alike(task.inputs(train))
    truth = np.array([label == same for label in task.truth(train)])
    tried = np.unique(np.quantile(alike, np.linspace(0, 1, 101))) if len(alike) else np.zeros(1)
    right = np.array([np.mean((alike >= least) == truth) for least in tried])
    # Of equals the middle: the farthest from either side.
    least = float(np.median(tried[right == right.max()]))
    answers: list[str | None] = [
        same if one >= least else other for one in _alike(task.inputs(lesson.validation))
    ]
    template = N_("texts that share {share:.0%} of their characters are the same")
    return Rule(answers, Message(template=template, values={"share": least}))


def _alike(pairs: Sequence[object]) -> np.ndarray:
    found = []
    for pair in pairs:
        assert isinstance(pair, tuple)
        one, two = (_bigrams(str(text)[:LONGEST].lower()) for text in pair)
        found.append(len(one & two) / max(len(one | two), 1))
    return np.array(found, dtype=np.float64)


def _bigrams(text: str) -> set[str]:
    return {text[at : at + 2] for at in range(max(len(text) - 1, 1))}
