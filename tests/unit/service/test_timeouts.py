"""A request's own time: honoured, documented, and nonsense refused."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from feilun.tasks.task import Input

from .conftest import Running


class Stuck:
    """A predictor that answers nothing until it is let go."""

    labels = ("正面", "负面")

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[Input] = []

    def scores(self, inputs: Sequence[Input]) -> np.ndarray:
        if "warm-up" not in inputs:
            self.asked += inputs
            self.go.wait(30)
        return np.full((len(inputs), 2), 0.5, dtype=np.float32)


def test_a_request_that_has_no_time_is_told_so(running: Running) -> None:
    headers = {"X-Request-Timeout-Seconds": "0.000001"}
    answer = running.client.post("/v1/classify", json={"input": "好"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "too_late")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "4000", "soon", "1_0", "٣"])
def test_a_time_that_is_none_is_refused(running: Running, given: str) -> None:
    headers = {"X-Request-Timeout-Seconds": given.encode()}
    answer = running.client.post("/v1/classify", json={"input": "好"}, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_timeout")


def test_the_header_is_documented(running: Running) -> None:
    paths = running.client.get("/openapi.json").json()["paths"]
    for path in ("/v1/classify", "/v1/embeddings"):
        names = [one["name"] for one in paths[path]["post"]["parameters"]]
        assert "X-Request-Timeout-Seconds" in names


def test_what_is_late_is_told_at_once_and_what_still_waits_is_never_computed(
    running: Running,
) -> None:
    engine, stuck = running.service.live.engine, Stuck()
    engine.swap(str(engine.model), stuck)
    first = engine.submit(["first"])
    headers = {"X-Request-Timeout-Seconds": "0.05"}
    answer = running.client.post("/v1/classify", json={"input": "late"}, headers=headers)
    # The engine is still stuck: nobody waited for it.
    assert not first.done()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "too_late")
    stuck.go.set()
    assert running.client.post("/v1/classify", json={"input": "next"}).status_code == 200
    assert stuck.asked == ["first", "next"]
    assert running.project.events.counts()["predictions"] == 1
