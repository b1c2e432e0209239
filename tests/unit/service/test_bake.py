"""A bad model is made live, and the one before is live again by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from feilun.models import Predictor, load
from feilun.service import alerting
from feilun.service.app import create_app
from feilun.service.bake import STUCK_LOOKS, Baking
from feilun.service.live import Live
from feilun.stages.serve import Answered, Engine, NoVectors
from feilun.stages.serve.bake import Bake
from feilun.stages.serve.waiting import NEVER, Work
from feilun.tasks import Classify
from feilun.tasks.task import Input
from feilun.wheel.project import Project
from tests.conftest import sentences, write_project
from tests.evidence import Evidence
from tests.unit.local_host import local_host

from .test_live import damage, move, second_model
from .test_outbox import SECRET, checked, with_channel

OFF = "\n[serve.bake]\nminutes = 0\n"
SLOW_SECONDS = 0.6
LONGEST_SECONDS = 90.0
"""Of one watch here, on a machine that is busy with other things."""


class Odd:
    """A model that does something else with everything but what it is warmed up with."""

    def __init__(self, model: Predictor, does: Callable[[], object]) -> None:
        self.labels = model.labels
        self._model, self._does = model, does

    def scores(self, texts: Sequence[Input]) -> np.ndarray:
        if list(texts) != [Classify().example]:
            self._does()
        return self._model.scores(texts)


class Released(NamedTuple):
    """A service in which a new model has just been made live."""

    client: TestClient
    live: Live
    project: Project
    before: str
    new: str
    texts: Iterator[str]

    def ask(self) -> int:
        return self.client.post("/v1/classify", json={"input": next(self.texts)}).status_code

    def until_moved(self) -> tuple[list[int], float]:
        """The status of every request until the model before answers again, and the seconds."""
        began, met = time.monotonic(), []
        while self.live.engine.model != self.new:
            time.sleep(0.01)
        while self.live.engine.model == self.new:
            assert time.monotonic() - began < LONGEST_SECONDS, "it never went back"
            met.append(self.ask())
        return met, time.monotonic() - began

    def answered(self) -> int:
        """Requests that the new model answered, or failed to."""
        with self.project.events.database.read() as connection:
            answers = connection.scalar(
                sa.text("SELECT count(DISTINCT request) FROM predictions WHERE model = :new"),
                {"new": self.new},
            )
        return int(answers or 0)


def until(done: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < LONGEST_SECONDS, "it never came"
        time.sleep(0.01)


def one_sided(project: Project) -> str:
    """The digest of a model that has learnt to say the same of everything."""
    write_project(project.root, [(text, "正面") for text, _label in sentences()])
    with (project.root / "reviews.csv").open("a", encoding="utf-8") as target:
        target.writelines(f"太差了，{number},负面\n" for number in range(6))
    made = project.turn(until="train").model
    assert made is not None
    return made.digest


def never() -> None:
    return None


def fail() -> None:
    raise RuntimeError("broken")


def dawdle() -> None:
    time.sleep(SLOW_SECONDS)


@contextmanager
def released(
    folder: Path,
    does: Callable[[], object] = never,
    make: Callable[[Project], str] = second_model,
    settings: str = "",
) -> Iterator[Released]:
    with (folder / "feilun.toml").open("a", encoding="utf-8") as file:
        file.write(settings)
    with Project.open(folder) as project:
        key = project.keys.add("test")
        new = make(project)
        app = create_app(project)
        with TestClient(app, base_url="http://127.0.0.1:8000") as client:
            client.headers["authorization"] = f"Bearer {key}"
            live = app.state.service.live
            before = str(live.engine.model)
            model = project.get(f"model/{new}")
            live._loaded[new] = (model, Odd(load(project.blobs_of(model)), does))
            texts = (f"{text} {n}" for n in count() for text, _label in sentences(300, 100 + n))
            move(project, new)
            yield Released(client, live, project, before, new, texts)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "FIRST_SECONDS", 3600.0)


@pytest.mark.parametrize(
    ("cause", "word", "does", "make", "named"),
    [
        ("errors", "failed", fail, second_model, "fails"),
        ("slow", "took", dawdle, second_model, f"takes {SLOW_SECONDS} s for a text"),
        ("answers", "the same answer", never, one_sided, "gives nearly all the same answer"),
    ],
)
def test_a_bad_model_is_rolled_back(
    project_folder: Path,
    cause: str,
    word: str,
    does: Callable[[], object],
    make: Callable[[Project], str],
    named: str,
    evidence: Evidence,
) -> None:
    with released(project_folder, does, make) as one:
        met, seconds = one.until_moved()
        assert set(met) == {200}, "nobody is to be given an error"
        until(lambda: one.live.rollbacks._baking is None)
        (row, *_earlier) = one.project.history()
        assert (row.digest, row.by) == (one.before, "feilun")
        assert one.project.release is not None
        assert one.project.release.reason.startswith(f"rolled back from {one.new[7:19]}: it ")
        assert word in one.project.release.reason
        metrics = one.client.get("/metrics").text
        assert f'feilun_rollbacks_total{{cause="{cause}"}} 1.0' in metrics
        assert "feilun_baking 0.0" in metrics
        rescued = one.live.rollbacks.rescued
        assert (rescued > 0) == (cause == "errors")
        assert f"feilun_rescued_requests_total {float(rescued)}" in metrics
        exposed = one.answered()
        assert (exposed == 0) == (cause == "errors")
        # It stays so, and is not looked at any more.
        assert {one.ask() for _again in range(5)} == {200}
        one.live.look()
        assert one.live.engine.model == one.before
        assert one.answered() == exposed
    evidence(
        14,
        f"a model that {named}: the one before was live again after {seconds:.1f} s; of "
        f"{len(met)} requests until then {exposed} were answered by the bad one, {rescued} by the "
        "one before because the bad one failed, none by an error",
    )


def test_control_without_the_watch_a_model_that_fails_stays(
    project_folder: Path, evidence: Evidence
) -> None:
    with released(project_folder, fail, settings=OFF) as one:
        until(lambda: one.live.engine.model == one.new)
        end = time.monotonic() + 3
        met = []
        while time.monotonic() < end:
            met.append(one.ask())
        assert set(met) == {500}
        assert one.live.engine.model == one.new
        assert one.project.history()[0].digest == one.new
        assert "feilun_baking 0.0" in one.client.get("/metrics").text
    evidence.control(
        14, f"with minutes = 0 the model that fails stays: {len(met)} of {len(met)} requests failed"
    )


def test_control_a_good_model_stays(project_folder: Path, evidence: Evidence) -> None:
    with released(project_folder) as one:
        until(lambda: one.live.rollbacks._baking is not None)
        assert "feilun_baking 1.0" in one.client.get("/metrics").text
        baking = one.live.rollbacks._baking
        assert baking is not None
        asked, began = 0, time.monotonic()
        while baking._judge.compared < 200:
            assert time.monotonic() - began < LONGEST_SECONDS
            assert one.ask() == 200
            asked += 1
        fault = baking._judge.fault(asked, 0)
        assert fault is None, fault
        assert one.live.engine.model == one.new
        assert one.project.history()[0].digest == one.new
        assert not one.live.rollbacks.causes
        baking.until = 0.0
        until(lambda: one.live.rollbacks._baking is None)
        assert one.live.engine.through is None
    evidence.control(14, f"a good model stays: 0 alarms at {asked} requests")


def test_the_move_is_told_of_as_any(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    with local_host() as host:
        host.answer("/hook", b"ok")
        folder = with_channel(project_folder, host, events=["release.moved"])
        with released(folder, fail) as one:
            one.until_moved()
            until(lambda: bool(host.asked))
            until(lambda: checked(host.asked[-1])["data"]["model"] == one.before)
            told = checked(host.asked[-1])
    data = told["data"]
    assert data["by"] == "feilun"
    assert data["reason"].startswith(f"rolled back from {one.new[7:19]}: it failed at ")


def test_a_model_that_was_live_before_is_not_watched(project_folder: Path) -> None:
    with released(project_folder) as one:
        until(lambda: one.live.rollbacks._baking is not None)
        one.project.rollback()
        until(lambda: one.live.engine.model == one.before)
        until(lambda: one.live.rollbacks._baking is None)
        one.project.rollback()
        until(lambda: one.live.engine.model == one.new)
        one.live.look()
        assert one.live.rollbacks._baking is None, "who insists has the last word"


def test_a_watch_goes_on_after_a_restart(project_folder: Path) -> None:
    with released(project_folder) as one:
        until(lambda: one.live.engine.model == one.new)
        other = Live(one.project)
        began = time.monotonic()
        other.start()
        try:
            until(lambda: other.rollbacks._baking is not None)
            assert other.rollbacks._baking is not None
            assert other.rollbacks._baking.before[0] == one.before
            assert other.rollbacks._baking.until - began <= 3600
        finally:
            other.close()


def test_one_that_cannot_be_loaded_twice_is_rolled_back(
    trained_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feilun.service.live.RETRY_SECONDS", 0.0)
    live, project = Live(trained_project), trained_project
    row = project.control.alias("live")
    assert row is not None
    live._swap(row.digest)
    new = second_model(project)
    damage(project, new)
    move(project, new)
    live.look()
    assert project.history()[0].digest == new, "the disk may have been busy"
    live.look()
    assert (project.history()[0].digest, project.history()[0].by) == (row.digest, "feilun")
    assert live.refused == new
    live.look()
    assert live.refused is None
    assert project.release is not None
    assert "it cannot be loaded" in project.release.reason
    live.close()


# The watch over one model, without a service


class Plain:
    """A predictor of one label that does something first."""

    labels = ("a", "b")

    def __init__(self, does: Callable[[], object] = never) -> None:
        self._does = does
        self.asked = 0

    def scores(self, texts: Sequence[Input]) -> np.ndarray:
        self.asked += 1
        if list(texts) != [Classify().example]:
            self._does()
        return np.array([[0.9, 0.1]] * len(texts), dtype=np.float32)


@contextmanager
def watched(new: Plain, before: Plain) -> Iterator[tuple[Engine, Baking]]:
    engine = Engine(Classify(), 100)
    engine.swap("new", new)
    baking = Baking("new", ("before", before), Classify(), Bake(), 60.0)
    engine.through = baking.computed
    yield engine, baking
    engine.close()


def asked(engine: Engine, text: str = "x") -> Answered:
    return engine.submit([text]).result(10)


def test_what_both_fail_at_is_nobodys_fault_and_raises() -> None:
    with watched(Plain(fail), Plain(fail)) as (engine, baking):
        for _again in range(20):
            with pytest.raises(RuntimeError):
                asked(engine)
        assert (baking.requests, baking.failed) == (0, 0)
        assert baking.fault() is None


def test_what_the_new_one_fails_at_the_one_before_answers() -> None:
    with watched(Plain(fail), Plain()) as (engine, baking):
        found = [asked(engine) for _again in range(5)]
        assert {one.model for one in found} == {"before"}
        fault = baking.fault()
        assert fault is not None
        assert fault.cause == "errors"


def test_refusals_are_no_errors() -> None:
    def refuses(*_given: object) -> list[Any]:
        raise NoVectors()

    with watched(Plain(), Plain()) as (_engine, baking):
        work: Work[Any] = Work("vectors", ["x"], NEVER, Future())
        with pytest.raises(NoVectors):
            baking.computed(refuses, "new", Plain(), [work])
        assert (baking.requests, baking.failed) == (0, 0)


def test_another_model_than_the_watched_one_is_left_alone() -> None:
    with watched(Plain(), Plain()) as (engine, baking):
        engine.swap("other", Plain(fail))
        with pytest.raises(RuntimeError):
            asked(engine)
        assert (baking.requests, baking.failed) == (0, 0)


def test_an_engine_that_stays_in_one_batch_is_stuck() -> None:
    go = threading.Event()
    with watched(Plain(lambda: go.wait(60)), Plain()) as (engine, baking):
        future = engine.submit(["x"])
        until(lambda: baking._texts > 0)
        found = [baking.fault() for _look in range(STUCK_LOOKS + 1)]
        go.set()
        assert future.result(10).model == "new"
        assert found[:-1] == [None] * STUCK_LOOKS
        assert found[-1] is not None
        assert found[-1].cause == "slow"
        assert baking.fault() is None, "it goes on"


def test_comparing_takes_a_tenth_of_the_time_at_most() -> None:
    before = Plain(lambda: time.sleep(0.2))
    with watched(Plain(), before) as (engine, baking):
        for number in range(20):
            asked(engine, f"x{number}")
            baking.fault()
        seconds = time.monotonic() - baking._began
        assert before.asked <= 1 + (seconds + 1) * 0.1 / 0.2
