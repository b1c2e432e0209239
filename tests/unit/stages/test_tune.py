"""Trials: scored on validation, given up early, repeated after a kill, the same twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field, model_validator

from feilun.core import part
from feilun.core.artifacts import Dataset
from feilun.core.errors import Damaged, DiskFull, Invalid
from feilun.core.run import Run
from feilun.models.family import Estimate, Family, Lesson
from feilun.models.folder import write_card
from feilun.models.mlp import Mlp
from feilun.models.space import Axis
from feilun.stages.prepare import Prepare, PrepareGiven
from feilun.stages.train import Train, lesson_of
from feilun.stages.train.study import NoOptuna, Search, Settled, Study
from feilun.stages.train.trial import Trials
from feilun.stages.train.tune import Tune
from feilun.wheel.runner import LocalRun, fingerprint
from tests.unit.stages.scratch import REVIEWS, records, scratch
from tests.unit.stages.test_train import Knows

pytest.importorskip("optuna")

FITS: list[dict[str, Any]] = []
EPOCHS = 5


class Hill(Family):
    """Right the more often the nearer `x` is to 0.7 (and never quite with `way` = down); tells
    how right it is after each of five epochs of `pace` steps."""

    use: ClassVar[str] = "hill"

    x: float = Field(0.1, ge=0, le=1)
    pace: int = Field(10, ge=1, le=1000)
    way: Literal["up", "down"] = "up"
    says: Literal["metric", "loss", "nothing"] = "nothing"
    breaks: bool = False

    @model_validator(mode="after")
    def _apart(self) -> Hill:
        if self.way == "down" and self.x > 0.9:
            raise ValueError("down only below 0.9")
        return self

    @property
    def height(self) -> float:
        return max(0.0, 1 - abs(self.x - 0.7) - (0.2 if self.way == "down" else 0.0))

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        return Estimate(self, 1.0)

    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        epochs = []
        FITS.append({**self.model_dump(), "epochs": epochs})
        if self.breaks:
            raise Invalid("it breaks", remedy="do not")
        for epoch in range(EPOCHS):
            epochs.append(epoch)
            step = (epoch + 1) * self.pace
            run.progress(epoch, EPOCHS)
            run.log("loss", 1.0, step)
            share = self.height * (epoch + 1) / EPOCHS
            if self.says != "nothing":
                run.log("validation_loss", 1 - share, step)
            if self.says == "metric":
                run.log("validation_accuracy", share, step)
        write_card(folder, self.use, lesson.labels, {"right": self.height})

    @classmethod
    def load(cls, folder: Path) -> Any:
        card = json.loads((folder / "feilun.json").read_text())
        return Knows(card["labels"], card["settings"]["right"])


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    real = part._registered()
    point = EntryPoint("family.hill", f"{__name__}:Hill", part.GROUP)
    monkeypatch.setattr(part, "_registered", lambda: {**real, "family.hill": point})
    FITS.clear()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    folder = tmp_path_factory.mktemp("prepared")
    inner = scratch(folder, "prepare")
    stage = Prepare.model_validate({"split": {"minimum": 4, "validation": 0.45}})
    more = [(f"{text}，第{n}晚", label) for n in range(2) for text, label in REVIEWS]
    return stage.run(PrepareGiven(records(more, inner)), inner), folder


@pytest.fixture
def run(prepared: tuple[Dataset, Path]) -> LocalRun:
    return scratch(prepared[1], "train")


@pytest.fixture
def lesson(prepared: tuple[Dataset, Path], run: LocalRun) -> Lesson:
    return lesson_of(prepared[0], run)


def search(space: dict[str, Any], trials: int = 10, **more: Any) -> Search:
    family = Hill.model_validate({k: more.pop(k) for k in list(more) if k in Hill.model_fields})
    settings = {"metric": "accuracy", "seed": 0, "sampler": "tpe", "pruner": "none", **more}
    axes = {key: Axis.model_validate(value) for key, value in space.items()}
    return Search(name="s", family=family, space=axes, trials=trials, **settings)


X = {"x": {"low": 0, "high": 1, "step": 0.05}}


class Made:
    """Searches in one folder, closed at the end."""

    def __init__(self, lesson: Lesson, run: LocalRun) -> None:
        self.lesson, self.run = lesson, run
        self.studies: list[Study] = []

    def __call__(self, wanted: Search, where: str = "tune.db", name: str = "w") -> Trials:
        study = Study(wanted, self.run.folder / where)
        self.studies.append(study)
        return Trials(wanted, study, self.lesson, self.run.within(name))


@pytest.fixture
def made(lesson: Lesson, run: LocalRun) -> Iterator[Made]:
    found = Made(lesson, run)
    yield found
    for study in found.studies:
        study.close()


def told(trials: Trials) -> list[tuple[Any, ...]]:
    return [(one.state, one.score, one.settings) for one in trials.study.settled]


def test_the_best_settings_are_found_and_scored_on_validation(made: Made, run: LocalRun) -> None:
    trials = made(search({**X, "way": ["up", "down"]}, 40))
    trials.go()
    found = trials.study.settled
    assert len(found) == 40
    assert [one.number for one in found] == list(range(40))
    best = trials.study.best
    assert best is not None
    assert best.settings["way"] == "up"
    assert abs(best.settings["x"] - 0.7) <= 0.05
    assert best.score == pytest.approx(1.0, abs=0.08)
    assert best.score == trials.score(best.settings)
    shares = trials.study.importances()
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda name: shares[name]) == "x"
    late = [one.score or 0 for one in found[20:]]
    early = [one.score or 0 for one in found[:10]]
    assert sum(late) / 20 > sum(early) / 10, "it learns where to look"


def test_nothing_is_trained_twice_and_only_answers_stay(made: Made) -> None:
    trials = made(search({"x": [0.2, 0.7]}, 12))
    trials.go()
    assert len(trials.study.settled) == 12
    assert sorted(fit["x"] for fit in FITS) == [0.2, 0.7]
    assert {p.name for p in trials.run.folder.rglob("*") if p.is_file()} == {"validation.json"}
    answers = trials.answers({"x": 0.7})
    assert answers is not None
    assert len(answers) == len(trials.lesson.validation)
    assert trials.answers({"x": 0.3}) is None


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_search_twice_tries_the_same(made: Made, sampler: str) -> None:
    wanted = search({"x": {"low": 0, "high": 1}, "pace": {"low": 1, "high": 900, "log": True}}, 15,
                    sampler=sampler)  # fmt: skip
    one, two = made(wanted, "one.db", "one"), made(wanted, "two.db", "two")
    other = made(wanted.model_copy(update={"seed": 1}), "three.db", "three")
    for trials in (one, two, other):
        trials.go()
    assert told(one) == told(two)
    assert told(one) != told(other)
    assert len({one.settings["x"] for one in one.study.settled}) > 10


def test_a_killed_search_goes_on_as_if_nothing_had_been(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    wanted = search({"x": {"low": 0, "high": 1}}, 14)
    undisturbed = made(wanted, "one.db", "one")
    undisturbed.go()
    broken = made(wanted, "two.db", "two")
    fit, fits = Hill.fit, []

    def sometimes(self: Hill, *given: Any) -> None:
        fits.append(self.x)
        if len(fits) in {4, 5, 13}:
            raise Killed
        fit(self, *given)

    monkeypatch.setattr(Hill, "fit", sometimes)
    for _number in range(3):
        with pytest.raises(Killed):
            broken.go()
        broken = made(wanted, "two.db", "two")
        assert broken.study.recover() == 1
    broken.go()
    assert told(broken) == told(undisturbed)
    assert fits[3] == fits[4] == fits[5], "what was under way is tried again"
    assert broken.study.recover() == 0


def test_what_kills_its_process_each_time_is_given_up(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_given: Any) -> None:
        raise KeyboardInterrupt

    wanted = search({"x": [0.3]}, 1)
    monkeypatch.setattr(Hill, "fit", die)
    for _number in range(3):
        trials = made(wanted)
        with pytest.raises(KeyboardInterrupt):
            trials.go()
        assert trials.study.recover() == 1
    trials.go()
    (only,) = trials.study.settled
    assert only.state == "failed"
    assert "killed each time" in (only.why or "")
    assert trials.study.best is None


@pytest.mark.parametrize("says", ["metric", "loss"])
def test_what_falls_behind_is_given_up_early(made: Made, says: str) -> None:
    """Paces differ: trials are compared at the same epoch, not at the same step."""
    wanted = search({**X, "pace": [1, 100]}, 30, says=says, pruner="median")
    trials = made(wanted)
    trials.go()
    found = trials.study.settled
    early = [one for one in found if one.state == "ended early"]
    assert 5 <= len(early) < 25
    assert all(one.score is None for one in early)
    lows = {one.settings["x"] for one in early}
    best = trials.study.best
    assert best is not None
    assert abs(best.settings["x"] - 0.7) <= 0.1
    assert 0.7 not in lows, "what is best is never behind"
    short = [fit for fit in FITS if len(fit["epochs"]) < EPOCHS]
    assert len(short) == len(early), "and stopped there"
    assert not list(trials.run.folder.rglob("feilun.json"))


def test_without_figures_on_the_way_nothing_is_given_up(made: Made) -> None:
    trials = made(search(X, 12, pruner="hyperband"))
    trials.go()
    assert {one.state for one in trials.study.settled} == {"scored"}


def test_hyperband_gives_up_too(made: Made) -> None:
    trials = made(search(X, 40, says="metric", pruner="hyperband"))
    trials.go()
    assert {one.state for one in trials.study.settled} == {"scored", "ended early"}


@pytest.mark.parametrize(("metric", "best"), [("mae", 1.0), ("accuracy", 3.0)])
def test_of_errors_less_is_better(run: LocalRun, metric: str, best: float) -> None:
    study = Study(search(X, 3, metric=metric), run.folder / "tune.db")
    for score in (2.0, 1.0, 3.0):
        trial = study.next()
        assert trial is not None
        study.scored(trial, score)
    assert study.next() is None
    assert study.best is not None
    assert study.best.score == best
    study.close()


def test_what_cannot_be_trained_is_told_and_the_search_goes_on(made: Made) -> None:
    space = {"x": [0.2, 0.95], "way": ["up", "down"], "breaks": [True, False]}
    trials = made(search(space, 24, sampler="random"))
    trials.go()
    failed = [one for one in trials.study.settled if one.state == "failed"]
    whys = {(one.settings["breaks"], one.why) for one in failed}
    assert (True, "it breaks") in whys
    assert any("down only below 0.9" in (why or "") for _breaks, why in whys)
    assert trials.study.best is not None
    assert len(trials.study.settled) == 24


def test_a_full_disk_ends_the_search(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: Any) -> None:
        raise DiskFull("x")

    monkeypatch.setattr(Hill, "fit", full)
    with pytest.raises(DiskFull):
        made(search(X)).go()


def test_when_the_time_is_up_the_trial_under_way_waits(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = made(search(X, 5))
    trials.until = time.time() - 1
    trials.go()
    assert not FITS, "nothing is begun"
    fit = Hill.fit

    def slow(self: Hill, *given: Any) -> None:
        if len(FITS) == 2:
            trials.until = time.time()
        fit(self, *given)

    monkeypatch.setattr(Hill, "fit", slow)
    for _number in range(5):
        trials.until = time.time() + 60
        trials.go()
        if len(FITS) == 3:
            assert len(trials.study.settled) == 2
            assert FITS[2]["epochs"] == [0]
    assert FITS[2]["x"] == FITS[3]["x"], "it comes first"
    assert len(trials.study.settled) == 5
    assert {one.state for one in trials.study.settled} == {"scored"}


def test_threads_are_shared_among_processes(made: Made) -> None:
    trials = made(search(X))
    trials.threads = 3
    assert trials._sharing(Mlp()).threads == 3  # type: ignore[attr-defined]
    assert trials._sharing(Mlp(threads=2)).threads == 2  # type: ignore[attr-defined]
    assert trials._sharing(Hill()) == Hill(), "a family may not have the setting"


def test_a_name_may_hold_what_urls_cannot(made: Made, run: LocalRun) -> None:
    strange = run.within("中 文?x=%41#{a}")
    study = Study(search(X), strange.folder / "tune.db")
    study.close()
    assert (strange.folder / "tune.db").stat().st_size > 0


def test_a_damaged_database_is_told(run: LocalRun) -> None:
    (run.folder / "tune.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(Damaged, match=r"tune\.db"):
        Study(search(X), run.folder / "tune.db")


def test_without_optuna_the_extra_is_named(run: LocalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feilun.stages.train.study.find_spec", lambda _name: None)
    with pytest.raises(NoOptuna) as caught:
        Study(search(X), run.folder / "tune.db")
    assert caught.value.remedy == "pip install 'feilun[tune]'"


def test_another_search_trains_nothing_anew() -> None:
    """The space is no part of what training makes."""
    plain = Train()
    tuned = Train(tune=Tune.model_validate({"trials": 5, "space": X}))
    assert fingerprint(plain, {}) == fingerprint(tuned, {})
    assert "tune" not in plain.model_dump(mode="json")
    assert Train.model_validate(tuned.model_dump(mode="json")) == plain


def test_settled_is_what_its_name_says() -> None:
    assert Settled._fields == ("number", "state", "score", "settings", "seconds", "why")
