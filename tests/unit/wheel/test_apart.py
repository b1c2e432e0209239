"""What is worked out in a process of its own is what it is here, and pages do not wait for it."""

from __future__ import annotations

import threading
import time

import pytest

from feilun.wheel import apart
from feilun.wheel.apart import Kept, NotWorkedOut
from feilun.wheel.project import Project


def test_signals_and_slices_are_those_of_this_process(trained_project: Project) -> None:
    texts = [f"质量不错，推荐耳机 {n}{' 开发票' * (n % 10 == 0)}" for n in range(200)]
    for text, one in zip(texts, trained_project.predict(texts), strict=True):
        if "发票" in text:
            trained_project.feedback(one.id, "correction", "负面")
    told, ours = apart.signals(trained_project, 24), trained_project.signals(24)
    assert [one.name for one in told] == [one.name for one in ours]
    assert [str(one.message) for one in told] == [str(one.message) for one in ours]
    assert [one.level for one in told] == [one.level for one in ours]
    weakest, here = apart.weakest(trained_project, 7), trained_project.weakest(7)
    assert weakest._replace(since=0) == here._replace(since=0)
    assert weakest.wrong == 20
    assert weakest.by_feedback


def test_a_process_that_fails_is_told(
    trained_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(NotWorkedOut):
        apart.signals(trained_project)


def test_who_does_not_wait_is_given_the_one_before() -> None:
    go, made = threading.Event(), []

    def work() -> int:
        if made:
            assert go.wait(30)
        made.append(len(made))
        return made[-1]

    kept = Kept(work)
    assert kept.get(60, wait=False) == 0  # there was none
    assert [kept.get(0, wait=False) for _again in range(5)] == [0] * 5
    go.set()
    until = time.monotonic() + 20
    while kept.get(60, wait=False) == 0:
        assert time.monotonic() < until
        time.sleep(0.01)
    # Several asked meanwhile; one had it worked out.
    assert made == [0, 1]
    assert kept.get(0, wait=True) == 2


def test_a_failure_is_told_and_the_next_tries_again() -> None:
    fails = [True]

    def work() -> str:
        if fails.pop() if fails else False:
            raise NotWorkedOut()
        return "there"

    kept = Kept(work)
    with pytest.raises(NotWorkedOut):
        kept.get(60, wait=False)
    assert kept.get(60, wait=False) == "there"
