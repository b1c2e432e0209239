"""What other services and people are told, put together when it is sent.

The outbox keeps ids; what there is to say is read where it stands. So what was erased in the
meantime is not told, and no message holds an input or the text of a comment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from feilun.core.errors import Missing
from feilun.core.i18n import _, speak
from feilun.core.message import Message
from feilun.stages.serve.channel import Channel, Notice
from feilun.store.clock import new_id
from feilun.store.control import DONE
from feilun.store.events.batches import Batches
from feilun.store.events.feedback import feedback_told
from feilun.store.events.outbox import Address, ChannelRow, Delivery, Outbox
from feilun.wheel.turn import LIVE, read_turn

if TYPE_CHECKING:
    from feilun.wheel.project import Project

_TURNS, _MOVES = "turns", "moves"
_NEWEST = 5


class ChannelUnknown(Missing):
    """No channel of the project has that name."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            _("There is no channel '{name}'; [[serve.notify]] has: {known}.").format(
                name=name, known=", ".join(known) or "-"
            ),
            remedy="feilun notify list",
        )


def outbox(project: Project) -> Outbox:
    """The project's messages to others."""
    return Outbox(project.events.database)


def channels(project: Project) -> dict[str, Channel]:
    """The channels that the settings have, by name."""
    return {channel.name: channel for channel in project.settings.serve.notify}


class Figures(NamedTuple):
    """A channel of the settings with its figures; see `ChannelRow`. All are 0 before a service
    has opened it."""

    name: str
    kind: str
    to: str
    events: tuple[str, ...]
    waiting: int
    delivered: int
    dead: int
    lost: int
    tried_at: float | None
    error: str | None


def figures(project: Project) -> list[Figures]:
    """The channels of the settings, in their order, and how they are."""
    rows = {row.name: row for row in outbox(project).channels()}
    found = []
    for name, channel in channels(project).items():
        row = rows.get(name) or ChannelRow(name, channel.told, 0, 0, 0, 0, None, None)
        found.append(
            Figures(
                name, channel.use, channel.shown, channel.told, row.waiting, row.delivered,
                row.dead, row.lost, row.tried_at, row.error,
            )
        )  # fmt: skip
    return found


def open_channels(project: Project) -> None:
    """From now on what happens is announced to exactly the channels of the settings; history
    begins now for a project that had none."""
    box = outbox(project)
    box.open_channels([address(channel) for channel in channels(project).values()], time.time())
    newest = project.control.alias(LIVE)
    box.follow(_MOVES, newest.seq if newest else 0)
    done = [row.number for row in project.control.turns() if row.status == DONE]
    box.follow(_TURNS, max(done, default=0))


def address(channel: Channel) -> Address:
    """A channel as the outbox knows it: where it leads is kept as a digest, for an address may
    be a secret."""
    from hashlib import sha256

    digest = sha256(channel.target.encode()).hexdigest()
    return Address(channel.name, digest, channel.told, channel.backlog)


def follow_history(project: Project) -> None:
    """Announces the turns that ended and the moves of what is live since it was last called."""
    box = outbox(project)
    turns = project.control.turns(_NEWEST)
    place = box.place(_TURNS)
    if turns and turns[0].number > place + _NEWEST:
        turns = project.control.turns(turns[0].number - place)
    ended = [
        (row.number, str(row.number), _seconds(row.ended_at), None)
        for row in turns
        if row.status == DONE and row.number > place
    ]
    if ended:
        box.advance(_TURNS, "turn.done", ended)
    newest, place = project.control.alias(LIVE), box.place(_MOVES)
    if newest is not None and newest.seq > place:
        box.advance(
            _MOVES,
            "release.moved",
            [
                (row.seq, row.digest, _seconds(row.at), {**row._asdict()})
                for row in project.control.history(LIVE)
                if row.seq > place
            ],
        )


def notice(project: Project, delivery: Delivery, channel: Channel) -> Notice | None:
    """What is sent; None when what it tells of is no more."""
    with speak(channel.language):
        data = _DATA[delivery.event](project, delivery)
    if data is None:
        return None
    about = {"project": project.settings.project.name, **data}
    return Notice(delivery.id, delivery.event, delivery.at, about)


def test(project: Project, name: str) -> str:
    """Sends a message of the event `test` at once, past the outbox; its id. Raises
    `ChannelUnknown`, or what keeps it from arriving."""
    channel = channels(project).get(name)
    if channel is None:
        raise ChannelUnknown(name, sorted(channels(project)))
    identity = new_id("msg")
    with speak(channel.language):
        about = {"project": project.settings.project.name, **_tested()}
        channel.send(Notice(identity, "test", time.time(), about))
    return identity


def _seconds(at: str | None) -> float:
    return datetime.fromisoformat(at).timestamp() if at else time.time()


def _tested() -> dict[str, Any]:
    return {"message": _("This is a test; nothing has happened.")}


def _feedback(project: Project, delivery: Delivery) -> dict[str, Any] | None:
    return feedback_told(project.events.database, delivery.subject)


def _alerts(_project: Project, delivery: Delivery) -> dict[str, Any] | None:
    alerts = (delivery.content or {}).get("alerts", [])
    return {
        "alerts": [
            {**alert, "message": str(Message.model_validate(alert["message"]))} for alert in alerts
        ]
    }


def _turn(project: Project, delivery: Delivery) -> dict[str, Any] | None:
    try:
        return read_turn(project, int(delivery.subject)).summary()
    except Missing:
        return None


def _move(_project: Project, delivery: Delivery) -> dict[str, Any] | None:
    content = delivery.content or {}
    return {
        "model": content["digest"],
        "turn": content["turn"],
        "by": content["by"],
        "reason": str(Message.model_validate_json(content["reason"])),
    }


def _batch(project: Project, delivery: Delivery) -> dict[str, Any] | None:
    batch = Batches(project.events.database).known(delivery.subject)
    return None if batch is None else batch.shown()


_DATA: dict[str, Callable[[Project, Delivery], dict[str, Any] | None]] = {
    "feedback.created": _feedback,
    "alert.raised": _alerts,
    "alert.cleared": _alerts,
    "turn.done": _turn,
    "release.moved": _move,
    "batch.done": _batch,
}
