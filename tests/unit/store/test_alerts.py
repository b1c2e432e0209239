"""Alerts: raised after so many loud looks, cleared after so many quiet ones, told once each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.store.events import EventLog
from feilun.store.events import alerts as module
from feilun.store.events.alerts import (
    CLEARED,
    RAISED,
    AlertNotFound,
    Alerts,
    Change,
    Heard,
    Patience,
)
from feilun.store.events.outbox import Address, Outbox

PATIENCE = Patience(2, 3)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = EventLog(tmp_path / "events.db")
    Outbox(opened.database).open_channels([Address("a", "t", (RAISED, CLEARED), 1000)], 0.0)
    yield opened
    opened.close()


@pytest.fixture
def alerts(log: EventLog) -> Alerts:
    return Alerts(log.database)


def heard(**loud: bool) -> list[Heard]:
    message = {"template": "{x}", "values": {"x": 1}, "terms": []}
    return [Heard(name, is_loud, "warning", 0.5, message) for name, is_loud in loud.items()]


def looks(alerts: Alerts, pattern: str, start: float = 0.0) -> list[Change]:
    """A look for each letter: L is loud, q is quiet."""
    changes = []
    for place, letter in enumerate(pattern):
        change = alerts.look(heard(drift=letter == "L"), PATIENCE, start + place)
        assert change is not None
        changes.append(change)
    return changes


def told(log: EventLog) -> list[tuple[str, list[str]]]:
    """The messages so far: event, and the names of its alerts."""
    box = Outbox(log.database)
    found = []
    while (delivery := box.next_due("a", 1e12)) is not None:
        content = delivery.content or {}
        found.append((delivery.event, [alert["name"] for alert in content["alerts"]]))
        box.arrived(delivery, 0.0)
    return found


def test_an_alert_needs_loud_looks_in_a_row_and_ends_after_quiet_ones(
    alerts: Alerts, log: EventLog
) -> None:
    changes = looks(alerts, "LqLqLqqLLLqqLqqq")
    assert [len(change.raised) for change in changes] == [0] * 8 + [1] + [0] * 7
    assert [len(change.cleared) for change in changes] == [0] * 15 + [1]
    assert told(log) == [(RAISED, ["drift"]), (CLEARED, ["drift"])]
    (row,) = alerts.latest()
    assert (row.raised_at, row.seen_at, row.cleared_at, row.told_at) == (8.0, 12.0, 15.0, 8.0)
    assert alerts.open() == []
    assert alerts.count() == 0


def test_control_without_patience_each_waver_is_an_alert(alerts: Alerts, log: EventLog) -> None:
    for place, letter in enumerate("LqLqLq"):
        alerts.look(heard(drift=letter == "L"), Patience(1, 1), float(place))
    assert len(told(log)) == 6


@settings(max_examples=30, deadline=None)
@given(st.text("Lq", max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_raises_and_clears_take_turns(pattern: str, loud: int, quiet: int) -> None:
    """Against the rule written down a second time, over any run of looks."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = EventLog(Path(folder) / "events.db")
        alerts = Alerts(log.database)
        seen = ""
        is_open = False
        for place, letter in enumerate(pattern):
            seen += letter
            change = alerts.look(heard(x=letter == "L"), Patience(loud, quiet), float(place))
            assert change is not None
            raises = not is_open and seen.endswith("L" * loud)
            clears = is_open and seen.endswith("q" * quiet)
            assert (len(change.raised), len(change.cleared)) == (raises, clears)
            is_open = (is_open or raises) and not clears
            assert alerts.count() == int(is_open)
        log.close()


def test_all_alerts_of_a_look_are_one_message(alerts: Alerts, log: EventLog) -> None:
    for at in range(2):
        alerts.look(heard(**{f"s{n}": True for n in range(50)}), PATIENCE, float(at))
    for at in range(2, 9):
        alerts.look([], PATIENCE, float(at))
    messages = told(log)
    assert [(event, len(names)) for event, names in messages] == [(RAISED, 50), (CLEARED, 50)]


def test_counting_goes_on_after_a_restart(alerts: Alerts, log: EventLog, tmp_path: Path) -> None:
    looks(alerts, "L")
    log.close()
    again = EventLog(tmp_path / "events.db")
    changes = looks(Alerts(again.database), "L", 1.0)
    assert len(changes[0].raised) == 1
    again.close()


def test_looks_that_come_too_soon_do_not_count(alerts: Alerts) -> None:
    assert alerts.look(heard(x=True), PATIENCE, 100.0, apart=60.0) is not None
    assert alerts.look(heard(x=True), PATIENCE, 130.0, apart=60.0) is None
    change = alerts.look(heard(x=True), PATIENCE, 161.0, apart=60.0)
    assert change is not None
    assert len(change.raised) == 1


def test_a_silenced_alert_is_told_when_the_silence_ends(alerts: Alerts, log: EventLog) -> None:
    alerts.silence("dri*", 10.0, "me", 0.0)
    assert [silence.name for silence in alerts.silences(5.0)] == ["dri*"]
    looks(alerts, "LLL")
    assert alerts.count() == 1, "it is an alert all the same"
    assert told(log) == []
    looks(alerts, "L", 11.0)
    assert told(log) == [(RAISED, ["drift"])]
    assert alerts.silences(11.0) == []


def test_what_is_over_within_its_silence_is_never_told(alerts: Alerts, log: EventLog) -> None:
    alerts.silence("*", 100.0, "me", 0.0)
    looks(alerts, "LLqqq")
    looks(alerts, "qqq", 200.0)
    assert told(log) == []
    # A silence that begins after the alert was told keeps its end quiet too.
    looks(alerts, "LL", 300.0)
    alerts.silence("drift", 400.0, "me", 310.0)
    looks(alerts, "qqq", 311.0)
    assert told(log) == [(RAISED, ["drift"])]


def test_a_silence_can_be_ended(alerts: Alerts, log: EventLog) -> None:
    alerts.silence("drift", 100.0, "me", 0.0)
    alerts.silence("drift", 1.0, "me", 1.0)
    assert alerts.silences(1.0) == []
    looks(alerts, "LL", 2.0)
    assert told(log) == [(RAISED, ["drift"])]


def test_an_alert_is_taken_on(alerts: Alerts, log: EventLog) -> None:
    with pytest.raises(AlertNotFound):
        alerts.acknowledge("drift", "me", 1.0)
    looks(alerts, "LL")
    (row,) = alerts.acknowledge("drift", "me", 5.0)
    assert (row.acked_by, row.acked_at) == ("me", 5.0)
    assert alerts.open() == [row]
    assert alerts.acknowledge(row.id, "you", 6.0)[0].acked_by == "you"


def test_a_value_that_is_no_number_is_none(alerts: Alerts, log: EventLog) -> None:
    odd = [one._replace(value=math.nan) for one in heard(x=True)]
    for at in range(3):
        alerts.look(odd, PATIENCE, float(at))
    assert alerts.open()[0].value is None
    assert told(log) == [(RAISED, ["x"])]


def test_the_tables_are_bounded(
    alerts: Alerts, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP", 5)
    for number in range(8):
        name: dict[str, Any] = {f"s{number}": True}
        alerts.look(heard(**name), Patience(1, 1), float(number))
    assert len(alerts.latest()) <= 5 + 1
    with log.database.read() as connection:
        left = connection.scalar(sa.text("SELECT count(*) FROM alert_looks"))
    assert left <= 2
