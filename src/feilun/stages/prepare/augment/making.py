"""Making the new records of one frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from feilun.core.endpoint import Endpoint
from feilun.core.records import SCHEMA, conform
from feilun.core.run import Run
from feilun.stages.prepare.augment import asking, noise
from feilun.stages.prepare.augment.check import MADE, Candidate, Survey, originals, twins
from feilun.stages.prepare.augment.edits import Lots, Span, applied, tiled
from feilun.stages.prepare.augment.lexicon import Synonyms
from feilun.stages.prepare.twins import twin_key

if TYPE_CHECKING:
    from feilun.stages.prepare.augment.step import Augment

TRIES = 3
"""Times a method that costs nothing tries to make a text of one that will do."""


class Parent(NamedTuple):
    """A record that new ones are made of; `row` is its place in the frame."""

    row: int
    id: str
    text: str
    label: str | None
    spans: tuple[Span, ...]
    number: int
    """The how manieth of its children this one is."""


class Child(NamedTuple):
    """What was made of a parent, and how."""

    parent: Parent
    method: str
    text: str
    spans: tuple[Span, ...]


class Making:
    """One frame with the records that are made of it.

    Every child has a plan: the methods in an order drawn by lot. What they make of its parent
    in turn is judged, until something will do or the plan is at its end.
    """

    def __init__(self, settings: Augment, survey: Survey, home: Path, run: Run) -> None:
        self._settings = settings
        self._survey = survey
        self._home = home
        self._run = run
        self._synonyms = Synonyms(run.root / settings.lexicon if settings.lexicon else None)
        self._barren: set[tuple[Parent, str]] = set()

    def grown(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` and the new records after it; those that lost their label are dropped."""
        waiting = self._parents(frame)
        plans = {parent: self._plan(parent) for parent in waiting}
        made: list[Child] = []
        rejected: list[Child] = []
        for turn in range(max((len(plan) for plan in plans.values()), default=0)):
            asked = {p: plans[p][turn] for p in waiting if turn < len(plans[p])}
            tried = [
                child
                for method in self._settings.methods
                for child in self._tried(method, turn, [p for p, m in asked.items() if m == method])
            ]
            good, bad = self._judged(tried)
            made += good
            rejected += bad
            done = {child.parent for child in good}
            waiting = [parent for parent in waiting if parent not in done]
        self._drop(frame, rejected)
        children = _records(frame, _without_twins(made))
        self._run.spend(children.height, "augment.made")
        return pl.concat([frame, children], how="diagonal") if children.height else frame

    def _parents(self, frame: pl.DataFrame) -> list[Parent]:
        """Whoever is to have children, once for each: labelled texts, and unlabelled ones with
        entities in them (a conversation without a label is an example of how to answer, and
        no noise must get into the answers)."""
        wanted = originals(frame.with_row_index("_row")).filter(pl.col("text").is_not_null())
        columns = wanted.select("_row", "id", "text", "label", "spans")
        found: list[Parent] = []
        for row, record, text, label, listed in columns.iter_rows():
            share = self._share(label)
            number = int(share)
            number += Lots(self._run.seed, "share", record).share() < share - number
            spans = tuple((s["start"], s["end"], s["label"]) for s in listed or ())
            if label is not None or (spans and not tiled(text, spans)):
                found += [Parent(row, record, text, label, spans, n) for n in range(number)]
        return found

    def _share(self, label: str | None) -> float:
        """How many children a record of this label has on the average."""
        share, minimum = self._settings.share, self._settings.minimum_label
        count = self._survey.labels.get(label or "", 0)
        if minimum is None or not count:
            return share
        return max(0.0, min(share, minimum / count - 1))

    def _plan(self, parent: Parent) -> list[str]:
        """The methods to try for one child, in their order; what is paid for, once."""
        lots = Lots(self._run.seed, "method", parent.id, parent.number)
        first: list[str] = list(lots.order(self._settings.methods))
        free = [method for method in first if method in noise.METHODS]
        return [*first, *(free * (TRIES - 1))]

    def _tried(self, method: str, turn: int, parents: Sequence[Parent]) -> list[Child]:
        if method in asking.METHODS:
            # What a model writes has other lengths everywhere: no span could be followed.
            return self._asked(method, [parent for parent in parents if not parent.spans])
        made = []
        for parent in parents:
            if (parent, method) in self._barren:
                continue
            lots = Lots(self._run.seed, method, turn, parent.id, parent.number)
            page = noise.Page(parent.text, parent.spans, lots, self._settings.strength)
            edits = noise.METHODS[method](page, self._synonyms)
            if not edits:
                self._barren.add((parent, method))
            changed = applied(parent.text, parent.spans, edits)
            if changed is not None and changed[0] != parent.text:
                made.append(Child(parent, method, *changed))
        return made

    def _asked(self, method: str, parents: Sequence[Parent]) -> list[Child]:
        settings = self._settings
        if not parents:
            return []
        assert settings.endpoint is not None  # checked when the settings are read
        assert settings.model is not None
        server = Endpoint(
            settings.endpoint, settings.model, token=settings.token, cache=self._home / "endpoint"
        )
        wishes = [asking.Wish(parent.text, parent.label) for parent in parents]
        answers = asking.rewritten(method, wishes, server, settings.pivot, self._run)
        return [
            Child(parent, method, text, ())
            for parent, text in zip(parents, answers, strict=True)
            if text is not None
        ]

    def _judged(self, tried: list[Child]) -> tuple[list[Child], list[Child]]:
        """Those that will do, and those that have lost their label; twins of texts that are
        there are neither."""
        if not tried:
            return [], []
        there = self._survey.known(pl.Series([child.text for child in tried], dtype=pl.String))
        fresh = [child for child, known in zip(tried, there, strict=True) if not known]
        if not self._settings.check:
            return fresh, []
        verdicts = self._survey.kept(
            [Candidate(c.parent.id, c.parent.label, c.parent.text, c.text) for c in fresh]
        )
        judged = list(zip(fresh, verdicts, strict=True))
        return [c for c, good in judged if good], [c for c, good in judged if not good]

    def _drop(self, frame: pl.DataFrame, rejected: Sequence[Child]) -> None:
        if rejected:
            self._run.spend(len(rejected), "augment.rejected")
            parents = pl.Series("detail", [child.parent.id for child in rejected])
            records = _records(frame, rejected).with_columns(parents)
            self._run.drop(records, self._settings.use, "label_changed")


def _without_twins(children: Iterable[Child]) -> list[Child]:
    """Of equal new texts the one whose parent has the smallest id: not the first to come. In the
    order of their parents."""
    ranked = sorted(children, key=lambda child: (child.parent.id, child.parent.number))
    keys = twins(pl.Series([child.text for child in ranked], dtype=pl.String))
    kept = [child for child, first in zip(ranked, keys.is_first_distinct(), strict=True) if first]
    return sorted(kept, key=lambda child: (child.parent.row, child.parent.number))


def _records(frame: pl.DataFrame, children: Sequence[Child]) -> pl.DataFrame:
    """The children as records: their parents' columns where nothing else is said."""
    rows = frame[[child.parent.row for child in children]].select(SCHEMA.names())
    fields = [
        _merged(old, {"parent": child.parent.id, "method": child.method})
        for old, child in zip(rows["fields"], children, strict=True)
    ]
    spans = [
        [{"start": s, "end": e, "label": label} for s, e, label in child.spans] or None
        for child in children
    ]
    made = rows.drop("id", "text", "spans", "fields", "source").with_columns(
        pl.Series("text", [child.text for child in children], dtype=pl.String),
        pl.Series("source", [MADE + child.method for child in children], dtype=pl.String),
        pl.Series("spans", spans, dtype=SCHEMA["spans"]),
        pl.Series("fields", fields, dtype=pl.String),
    )
    made = conform(made)
    if frame.schema.get("key") == pl.String:
        made = made.with_columns(twin_key(pl.col("text")).alias("key"))
    return made


def _merged(old: str | None, new: dict[str, str]) -> str:
    found = json.loads(old) if old else {}
    known = found if isinstance(found, dict) else {}
    return json.dumps(known | new, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
