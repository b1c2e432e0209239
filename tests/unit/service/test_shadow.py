"""A model in the shadow answers too, and nobody ever sees what."""

from __future__ import annotations

import time
from typing import Any

import pytest
import sqlalchemy as sa

from feilun.service.shadow import Shadow
from feilun.store.events import PredictionNotFound, PredictionRow
from feilun.tasks import Classify
from feilun.wheel import shadow as shadows
from feilun.wheel.project import Project

from .conftest import Running
from .test_live import move, second_model


def rows(project: Project) -> list[dict[str, Any]]:
    with project.events.database.read() as connection:
        found = connection.execute(sa.text("SELECT * FROM predictions ORDER BY seq")).mappings()
        return [dict(row) for row in found]


def until(done: Any) -> None:
    for _again in range(1000):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def in_the_shadow(running: Running) -> str:
    digest = second_model(running.project)
    shadows.put(running.project, f"model/{digest}")
    running.service.live.shadow._share = 1.0
    running.service.live.look_in_the_shadow()
    assert running.service.live.shadow.model == digest
    return digest


def ask(running: Running, *texts: str) -> dict[str, Any]:
    answer = running.client.post("/v1/classify", json={"input": list(texts)})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_its_answers_are_logged_beside_those_that_were_given(running: Running) -> None:
    digest = in_the_shadow(running)
    before = running.project.events.counts()["predictions"]
    answer = ask(running, "房间很干净", "服务太差", "…")
    until(lambda: [row["route"] for row in rows(running.project)].count("shadow") == 3)
    found = [row for row in rows(running.project) if row["route"] == "shadow"]
    assert all(row["scores"] for row in found)
    assert {row["model"] for row in found} == {digest}
    texts = [one for row in found for one in ("房间很干净", "服务太差", "…") if one in row["input"]]
    assert texts == []
    assert [row["id"] for row in found] == [one["id"] + ".shadow" for one in answer["results"]]
    # Given back by the live model, counted once, charged once.
    assert answer["model"] != digest
    assert running.project.events.counts()["predictions"] == before + 3
    assert running.project.events.usage(0).predictions == before + 3
    (compared,) = shadows.compared(running.project, 1.0)
    assert (compared.number, compared.shadow, compared.live) == (3, digest, answer["model"])
    same = [row["label"] == one["label"] for row, one in zip(found, answer["results"], strict=True)]
    assert compared.agreement == pytest.approx(sum(same) / 3)
    assert compared.low < compared.agreement <= compared.high
    assert digest[7:19] in shadows.told(compared)


def test_nobody_can_say_anything_of_its_answers(running: Running) -> None:
    in_the_shadow(running)
    answer = ask(running, "房间很干净")
    until(lambda: any(row["route"] == "shadow" for row in rows(running.project)))
    with pytest.raises(PredictionNotFound):
        running.project.feedback(answer["results"][0]["id"] + ".shadow", "rating", 1)


def test_taken_out_it_answers_no_more(running: Running) -> None:
    in_the_shadow(running)
    shadows.take(running.project)
    running.service.live.look_in_the_shadow()
    assert running.service.live.shadow.model is None
    assert shadows.shadow(running.project) is None
    assert shadows.compared(running.project, 1.0) == []
    ask(running, "好")
    assert {row["route"] for row in rows(running.project)} == {"live"}


def test_once_live_it_stands_in_the_shadow_no_more(running: Running) -> None:
    digest = in_the_shadow(running)
    move(running.project, digest)
    running.service.live.look()
    running.service.live.look_in_the_shadow()
    assert running.service.live.shadow.model is None
    assert ask(running, "好")["model"] == digest


def test_what_is_live_or_no_model_cannot_be_put_there(running: Running) -> None:
    with pytest.raises(shadows.AlreadyLive):
        shadows.put(running.project, "model/live")
    with pytest.raises(shadows.NotAShadow):
        shadows.put(running.project, "dataset/latest")


def test_without_room_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feilun.service.shadow.PATIENCE_SECONDS", 0.01)

    def no_log() -> Any:
        raise AssertionError("nothing is to be logged")

    class Never:
        labels = ("a", "b")

        def scores(self, texts: Any) -> Any:
            import numpy as np

            assert list(texts) == ["warm-up"], "there is no room"
            return np.full((len(texts), 2), 0.5, dtype=np.float32)

    shadow = Shadow(Classify(), no_log, 0.5, lambda: False)
    shadow.load("m", Never())
    row = PredictionRow("p_1", "r_1", 0.0, "m0", "x", "a", 1.0, None, 1.0, "k")
    for _again in range(6):
        shadow.offer(["x"], [row])
    until(lambda: shadow.left_out == 3)
    shadow.close()
