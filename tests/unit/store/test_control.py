"""The control database: turns that go on, artifacts by every name, aliases that only move when
they are where they were thought to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.artifacts import Cost, Records
from feilun.core.refs import Ref
from feilun.store.control import (
    DONE,
    FAILED,
    OPEN,
    RUNNING,
    ArtifactNotFound,
    Control,
    LiveMoved,
    TurnNotFound,
)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    opened = Control(tmp_path / "control.db")
    yield opened
    opened.close()


def records(number: int) -> Records:
    return Records(files={"records.parquet": f"{number:064x}"}, num_rows=number)


def put(control: Control, number: int, fingerprint: str | None = None) -> Records:
    artifact = records(number)
    control.put(
        artifact,
        stage="collect",
        inputs={"source.0": "x"},
        cost=Cost(seconds=1.5, spent={"records": 2}),
        code="1",
        fingerprint=fingerprint,
    )
    return artifact


def test_a_turn_begins_ends_and_the_next_has_the_next_number(control: Control) -> None:
    first = control.begin_turn("release", 3)
    assert (first.number, first.status, first.events_through, first.ended_at) == (
        1,
        RUNNING,
        3,
        None,
    )
    control.end_turn(1, DONE, verdict='{"released": true}')
    ended = control.turn(1)
    assert (ended.status, ended.verdict) == (DONE, {"released": True})
    assert ended.ended_at is not None
    assert control.begin_turn("release", 9).number == 2
    assert [turn.number for turn in control.turns()] == [2, 1]
    assert [turn.number for turn in control.turns(1)] == [2]


def test_a_killed_turn_keeps_the_feedback_it_began_with(control: Control) -> None:
    control.begin_turn("release", 3)
    again = control.begin_turn("train", 7)
    assert (again.number, again.until, again.events_through) == (1, "train", 3)


@pytest.mark.parametrize("status", [OPEN, FAILED])
def test_an_open_or_failed_turn_takes_in_what_came_since(control: Control, status: str) -> None:
    control.begin_turn("train", 3)
    control.end_turn(1, status, error="why" if status == FAILED else None)
    assert control.turn(1).error == ("why" if status == FAILED else None)
    again = control.begin_turn("release", 7)
    assert (again.number, again.status, again.events_through) == (1, RUNNING, 7)
    assert again.error is None


def test_an_unknown_turn_is_told(control: Control) -> None:
    with pytest.raises(TurnNotFound) as caught:
        control.turn(5)
    assert caught.value.remedy


def test_steps_are_kept_in_the_order_of_their_end_and_replaced_when_done_again(
    control: Control,
) -> None:
    control.begin_turn("release", 0)
    made = put(control, 1)
    control.end_step(1, "collect", made.digest, reused=False, cost=Cost(seconds=2))
    control.end_step(1, "release", None, reused=False, cost=Cost())
    assert [step.stage for step in control.steps(1)] == ["collect", "release"]
    assert control.steps(1)[0].cost.seconds == 2
    control.end_step(1, "collect", made.digest, reused=True, cost=Cost())
    steps = {step.stage: step for step in control.steps(1)}
    assert steps["collect"].reused
    assert steps["release"].artifact is None


def test_the_same_artifact_twice_is_one(control: Control) -> None:
    put(control, 1)
    put(control, 1)
    put(control, 2)
    assert [stored.number for stored in control.artifacts()] == [2, 1]
    assert [stored.number for stored in control.artifacts("records", 1)] == [2]
    assert control.artifacts("model") == []


def test_an_artifact_is_had_by_number_digest_prefix_latest_and_alias(control: Control) -> None:
    one, two = put(control, 1), put(control, 2)
    control.move_alias("live", one.digest, expected=None, by="me", reason="{}")
    for name, wanted in {
        "1": one,
        "002": two,
        one.digest: one,
        two.digest[:13]: two,
        "latest": two,
        "live": one,
    }.items():
        stored = control.get(Ref("records", name))
        assert stored.artifact == wanted, name
    assert stored.inputs == {"source.0": "x"}
    assert stored.cost == Cost(seconds=1.5, spent={"records": 2})
    assert (stored.stage, stored.code, stored.number) == ("collect", "1", 1)


@pytest.mark.parametrize(
    "name", ["3", "0", "9" * 40, "sha256:000000", "sha256:" + "f" * 64, "live", "nobody"]
)
def test_what_is_not_there_is_told(control: Control, name: str) -> None:
    put(control, 1)
    with pytest.raises(ArtifactNotFound, match="There is no records/"):
        control.get(Ref("records", name))


def test_an_alias_of_one_kind_names_nothing_of_another(control: Control) -> None:
    control.move_alias("live", put(control, 1).digest, expected=None, by="me", reason="{}")
    with pytest.raises(ArtifactNotFound):
        control.get(Ref("model", "live"))


def test_a_fingerprint_leads_to_what_was_made_under_it(control: Control) -> None:
    assert control.made("f1") is None
    one = put(control, 1, "f1")
    put(control, 1, "f2")
    assert control.made("f1") == control.made("f2") == one
    two = put(control, 2, "f1")
    assert control.made("f1") == two


def test_an_alias_moves_only_from_where_it_was_thought_to_be(control: Control) -> None:
    one, two, three = (put(control, number).digest for number in (1, 2, 3))
    control.move_alias("live", one, expected=None, by="a", reason="r1", turn=1)
    control.move_alias("live", two, expected=one, by="b", reason="r2", turn=2)
    with pytest.raises(LiveMoved):
        control.move_alias("live", three, expected=one, by="c", reason="r3")
    with pytest.raises(LiveMoved):
        control.move_alias("live", three, expected=None, by="c", reason="r3")
    now = control.alias("live")
    assert now is not None
    assert (now.digest, now.by, now.reason, now.turn) == (two, "b", "r2", 2)
    assert [row.digest for row in control.history("live")] == [two, one]
    assert control.alias("shadow") is None


def test_moving_an_alias_to_where_it_is_changes_nothing(control: Control) -> None:
    one = put(control, 1).digest
    for _time in range(2):
        control.move_alias("live", one, expected=None, by="a", reason="r", turn=1)
    assert len(control.history("live")) == 1


def test_a_turn_that_goes_on_sees_what_was_live_before_it(control: Control) -> None:
    one, two = put(control, 1).digest, put(control, 2).digest
    assert control.alias_before("live", 1) is None
    control.move_alias("live", one, expected=None, by="a", reason="r", turn=1)
    control.move_alias("live", two, expected=one, by="a", reason="r", turn=2)
    before = control.alias_before("live", 2)
    assert before is not None
    assert before.digest == one
    assert control.alias_before("live", 1) == control.alias("live")


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=8))
def test_numbers_count_different_artifacts_in_order(numbers: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder) / "control.db")
        for number in numbers:
            put(control, number)
        order = list(dict.fromkeys(numbers))
        for place, number in enumerate(order, start=1):
            assert control.get(Ref("records", str(place))).artifact == records(number)
        control.close()
