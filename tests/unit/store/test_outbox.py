"""The outbox: a message is there exactly if what it tells of is, and leaves when it arrived."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from feilun.store.events import EventLog, FeedbackRow, PredictionNotFound, PredictionRow
from feilun.store.events import outbox as module
from feilun.store.events.feedback import feedback_told
from feilun.store.events.outbox import (
    DEAD,
    DELIVERED,
    WAITING,
    Address,
    DeliveryNotFound,
    Outbox,
    announce,
)

CREATED = "feedback.created"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = EventLog(tmp_path / "events.db")
    opened.record([PredictionRow("p1", "r1", 1.0, "m", "很好", "正面", 0.9, None, 2.0, "k")])
    yield opened
    opened.close()


@pytest.fixture
def outbox(log: EventLog) -> Outbox:
    box = Outbox(log.database)
    box.open_channels([address("a")], 0.0)
    return box


def address(name: str, target: str = "t", backlog: int = 100, *events: str) -> Address:
    return Address(name, target, events or (CREATED,), backlog)


def say(log: EventLog, prediction: str = "p1", key: str | None = None) -> str:
    return log.record([FeedbackRow(prediction, 2.0, "rating", 1, "me", "k", key)])[0]


def count(log: EventLog) -> dict[str, int]:
    with log.database.read() as connection:
        rows = connection.execute(sa.text("SELECT status, count(*) FROM deliveries GROUP BY 1"))
        return {row[0]: row[1] for row in rows}


def test_a_message_is_there_exactly_if_its_feedback_is(log: EventLog, outbox: Outbox) -> None:
    first = say(log, key="once")
    assert say(log, key="once") == first
    with pytest.raises(PredictionNotFound):
        say(log, "nowhere")
    found = outbox.next_due("a", 3.0)
    assert found is not None
    assert (found.subject, found.event, found.status) == (first, CREATED, WAITING)
    assert outbox.channels()[0].waiting == 1
    assert count(log) == {WAITING: 1}


def test_a_transaction_that_fails_announces_nothing(log: EventLog, outbox: Outbox) -> None:
    def fail() -> None:
        with log.database.write() as connection:
            assert announce(connection, CREATED, "x", 1.0) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert outbox.next_due("a", 9.0) is None
    assert outbox.channels()[0].waiting == 0


def test_only_who_asked_for_an_event_is_told(log: EventLog, outbox: Outbox) -> None:
    outbox.open_channels([address("a"), address("b"), address("c", "t", 9, "turn.done")], 0.0)
    say(log)
    assert [row.waiting for row in outbox.channels()] == [1, 1, 0]
    ids = {outbox.next_due(name, 9.0).id for name in "ab"}  # type: ignore[union-attr]
    assert len(ids) == 2


def test_what_arrived_is_not_due_and_what_failed_is_due_later(
    log: EventLog, outbox: Outbox
) -> None:
    say(log)
    first = outbox.next_due("a", 9.0)
    assert first is not None
    outbox.failed(first, "host_busy", 9.0, 20.0)
    assert outbox.next_due("a", 19.9) is None
    again = outbox.next_due("a", 20.0)
    assert again is not None
    assert (again.id, again.attempts, again.error) == (first.id, 1, "host_busy")
    row = outbox.channels()[0]
    assert (row.waiting, row.tried_at, row.error) == (1, 9.0, "host_busy")
    for _twice in range(2):
        outbox.arrived(again, 21.0)
    row = outbox.channels()[0]
    assert (row.waiting, row.delivered, row.error) == (0, 1, None)
    assert outbox.next_due("a", 99.0) is None


def test_dead_letters_are_kept_until_they_are_sent_again_or_thrown_away(
    log: EventLog, outbox: Outbox
) -> None:
    for _number in range(3):
        say(log)
        found = outbox.next_due("a", 9.0)
        assert found is not None
        outbox.failed(found, "unreachable", 9.0, None)
    assert count(log) == {DEAD: 3}
    row = outbox.channels()[0]
    assert (row.waiting, row.dead) == (0, 3)
    one = outbox.dead()[0]
    with pytest.raises(DeliveryNotFound):
        outbox.retry("msg_no", 50.0)
    assert outbox.retry(one.id, 50.0) == 1
    due = outbox.next_due("a", 50.0)
    assert due is not None
    assert (due.id, due.attempts, due.since) == (one.id, 0, 50.0)
    assert outbox.drop(outbox.dead()[0].id) == 1
    assert outbox.retry(None, 60.0) == 1
    assert outbox.channels()[0].waiting == 2
    assert outbox.drop(None) == 0
    with pytest.raises(DeliveryNotFound):
        outbox.drop("msg_no")


def test_a_changed_address_gets_nothing_that_was_meant_for_another(
    log: EventLog, outbox: Outbox
) -> None:
    say(log)
    outbox.open_channels([address("a", "elsewhere")], 5.0)
    assert outbox.next_due("a", 99.0) is None
    (letter,) = outbox.dead()
    assert (letter.error, letter.target) == ("channel_moved", "t")
    # Only who says so sends it there; and the same address again changes nothing.
    assert outbox.retry(None, 6.0) == 1
    outbox.open_channels([address("a", "elsewhere")], 7.0)
    due = outbox.next_due("a", 99.0)
    assert due is not None
    assert due.target == "elsewhere"


def test_what_waits_for_a_channel_that_is_gone_waits_for_its_return(
    log: EventLog, outbox: Outbox
) -> None:
    say(log)
    outbox.open_channels([], 5.0)
    assert outbox.channels() == []
    assert outbox.dead()[0].error == "channel_removed"
    assert outbox.retry(None, 6.0) == 0
    assert say(log)
    assert count(log) == {DEAD: 1}
    outbox.open_channels([address("a")], 7.0)
    assert outbox.retry(None, 8.0) == 1


def test_the_tables_are_bounded_and_what_is_not_kept_is_counted(
    log: EventLog, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_DELIVERED", 2)
    monkeypatch.setattr(module, "KEEP_DEAD", 3)
    outbox.open_channels([address("a", backlog=4)], 0.0)
    for _number in range(6):
        say(log)
    row = outbox.channels()[0]
    assert (row.waiting, row.lost) == (4, 2)
    for _number in range(4):
        found = outbox.next_due("a", 9.0)
        assert found is not None
        outbox.failed(found, "x", 9.0, None)
    row = outbox.channels()[0]
    assert (row.waiting, row.dead, row.lost) == (0, 3, 3)
    outbox.retry(None, 10.0)
    for _number in range(3):
        found = outbox.next_due("a", 10.0)
        assert found is not None
        outbox.arrived(found, 10.0)
    assert count(log) == {DELIVERED: 2}
    assert outbox.channels()[0].delivered == 3


def test_a_history_is_announced_once_and_from_its_beginning_here(
    log: EventLog, outbox: Outbox
) -> None:
    outbox.open_channels([address("a", "t", 9, "turn.done")], 0.0)
    outbox.follow("turns", 3)
    outbox.follow("turns", 0)
    assert outbox.place("turns") == 3
    rows = [(number, str(number), 1.0, None) for number in (5, 4, 3, 2)]
    for _twice in range(2):
        outbox.advance("turns", "turn.done", rows)
    assert outbox.place("turns") == 5
    subjects = []
    while (found := outbox.next_due("a", 9.0)) is not None:
        subjects.append(found.subject)
        outbox.arrived(found, 9.0)
    assert subjects == ["4", "5"]


def test_a_message_without_a_subject_is_forgotten(log: EventLog, outbox: Outbox) -> None:
    identity = say(log)
    told = feedback_told(log.database, identity)
    assert told == {
        "id": identity, "prediction_id": "p1", "kind": "rating", "value": 1, "source": "me",
        "label": "正面", "model": "m",
    }  # fmt: skip
    with log.database.write() as connection:
        connection.execute(sa.text("DELETE FROM feedback"))
    assert feedback_told(log.database, identity) is None
    found = outbox.next_due("a", 9.0)
    assert found is not None
    outbox.forget(found)
    assert outbox.channels()[0].waiting == 0
    assert count(log) == {}


def test_the_text_of_a_comment_stays_here(log: EventLog, outbox: Outbox) -> None:
    row = FeedbackRow("p1", 2.0, "comment", "call me: 13812345678", "me", "k")
    told = feedback_told(log.database, log.record([row])[0])
    assert told is not None
    assert told["value"] is None
