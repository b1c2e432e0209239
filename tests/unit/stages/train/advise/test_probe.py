"""Probes: which parts are learnt from, what is asked, what fits the time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from feilun.core import part
from feilun.core.records import FEEDBACK_SOURCE, conform
from feilun.core.run import Run
from feilun.models import Estimate, Family, Lesson
from feilun.models.folder import write_card
from feilun.models.mlp import Mlp
from feilun.stages.train.advise.probe import Prober, parted
from tests.unit.stages.scratch import scratch

NOW = [0.0]
PER_ROW = 0.01


class Marks:
    """Answers by a mark in the text, as often right as it was made to be."""

    labels = ("bad", "good")

    def __init__(self, right: float) -> None:
        self._right = right

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        made = np.full((len(texts), 2), 0.1, dtype=np.float32)
        for at, text in enumerate(texts):
            number = int(text.split()[1])
            truth = int(text.startswith("good"))
            made[at, truth if (number * 37 % 100) / 100 < self._right else 1 - truth] = 0.9
        return made


class Timed(Family):
    """Takes `PER_ROW` seconds a record by the clock of these tests, and errs as 1/√n."""

    use: ClassVar[str] = "timed"

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        return Estimate(self, PER_ROW * lesson.train.height)

    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        NOW[0] += PER_ROW * lesson.train.height
        write_card(folder, self.use, lesson.labels, {"right": 1 - lesson.train.height**-0.5})

    @classmethod
    def load(cls, folder: Path) -> Any:
        card = json.loads((folder / "feilun.json").read_text())
        return Marks(card["settings"]["right"])


@pytest.fixture(autouse=True)
def _timed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = part._registered()
    point = EntryPoint("family.timed", f"{__name__}:Timed", part.GROUP)
    monkeypatch.setattr(part, "_registered", lambda: {**real, "family.timed": point})
    NOW[0] = 0.0


def lesson(count: int = 1600, source: str = "x.csv") -> Lesson:
    rows = [
        (f"{'good' if n % 2 else 'bad'} {n} text", "good" if n % 2 else "bad") for n in range(count)
    ]
    frame = conform(pl.DataFrame(rows, schema=["text", "label"], orient="row")).with_columns(
        source=pl.lit(source)
    )
    return Lesson(frame.slice(200), frame.head(200), ("bad", "good"))


def clock() -> float:
    return NOW[0]


def test_what_is_learnt_from_is_never_asked_about() -> None:
    parts = parted(lesson(), 0)
    learnt, asked = set(parts.learnt["text"]), set(parts.asked["text"])
    assert (parts.num_labelled, parts.learnt.height, parts.asked.height) == (1400, 700, 900)
    assert not learnt & asked
    assert parts.asked["text"][:200].to_list() == lesson().validation["text"].to_list()
    assert parts.learnt.equals(parted(lesson(), 0).learnt)


def test_every_beginning_holds_the_labels_in_their_shares() -> None:
    given = lesson()
    rare = given.train.with_columns(
        label=pl.when(pl.int_range(pl.len()) % 50 == 0).then(pl.lit("rare")).otherwise("label")
    )
    learnt = parted(given._replace(train=rare), 0).learnt
    for rows in (50, 100, 350):
        assert (learnt.head(rows)["label"] == "rare").sum() == pytest.approx(rows / 50, abs=1)


def test_augmented_records_and_feedback_do_not_judge() -> None:
    assert parted(lesson(source="augment:synonym"), 0).asked.height == 200
    assert parted(lesson(source=FEEDBACK_SOURCE), 0).asked.height == 200


def test_twins_of_what_is_learnt_do_not_judge() -> None:
    given = lesson()
    keyed = given.train.with_columns(key=pl.int_range(pl.len(), dtype=pl.UInt64) // 2)
    parts = parted(given._replace(train=keyed), 0)
    assert not set(parts.learnt["key"]) & set(parts.asked["key"].drop_nulls())
    assert parts.asked.height < 900


def test_probes_grow_and_stay_within_the_time(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    prober = Prober(Timed(), lesson(), "accuracy", 0, clock=clock)
    known = prober.estimate(300, run)
    assert known.seconds == pytest.approx(14.0)
    told: list[int] = []
    found = prober.probe(known, 100.0, run, lambda one: told.append(one.rows))
    assert told == [87, 175, 350, 700]
    assert [one.seconds for one in found.probes] == pytest.approx([0.87, 1.75, 3.5, 7.0])
    qualities = [one.quality.value for one in found.probes]
    assert qualities == sorted(qualities)
    assert len(found.probes[0].answers) == 900
    assert found.probes[-1].counts == {"bad": 350, "good": 350}
    assert found.served is not None
    assert found.served.size_mb > 0


def test_less_time_makes_smaller_probes_and_no_time_none(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    prober = Prober(Timed(), lesson(), "accuracy", 0, clock=clock)
    known = prober.estimate(300, run)
    assert prober.sizes(known, 100.0) == [87, 175, 350, 700]
    assert prober.sizes(known, 8.0) == [87, 175, 350]
    assert prober.sizes(known, 1.6) == [87]
    assert prober.sizes(known, 0.5) == []
    assert prober.probe(known, 0.5, run, lambda _one: None).served is None


def test_a_part_gets_the_size_of_the_whole_and_as_many_passes_as_it_deserves() -> None:
    prober = Prober(Mlp(), lesson(), "accuracy", 0)
    assert prober._at(Mlp(size="nano", epochs=15), 350) == Mlp(size="nano")
    # Passes that were cut to fit the budget are cut for a part too: 7 of 15 for 1,400 records.
    assert prober._at(Mlp(size="nano", epochs=7), 1400).epochs == 7
    assert prober._at(Mlp(size="nano", epochs=7), 350).epochs == 14
    own = Mlp(size="nano", epochs=2)
    assert Prober(own, lesson(), "accuracy", 0)._at(own, 350) == own


def test_a_tiny_lesson_is_probed_on_half_of_it(tmp_path: Path) -> None:
    prober = Prober(Timed(), lesson(240), "accuracy", 0, clock=clock)
    known = prober.estimate(300, scratch(tmp_path))
    assert prober.sizes(known, 100.0) == [20]
