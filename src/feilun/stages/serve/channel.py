"""What every channel to other services or people offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field, SerializeAsAny

from feilun.core.i18n import _
from feilun.core.part import Part

EventName = Literal[
    "feedback.created",
    "alert.raised",
    "alert.cleared",
    "turn.done",
    "release.moved",
    "batch.done",
]


class Notice(NamedTuple):
    """One message: its id, which stays the same however often it is sent; the event; when that
    happened (seconds since 1970); and what there is to say of it, as JSON values."""

    id: str
    event: str
    at: float
    data: dict[str, Any]


class Channel(Part):
    """Where messages go; a `[[serve.notify]]` table.

    A message stays in the outbox until `send` has returned without an error.
    """

    kind: ClassVar[str] = "channel"

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$", description="what it is called")
    language: Literal["en", "zh"] | None = Field(
        None, description="of sentences in messages; left out: that of the service's process"
    )
    give_up_days: float = Field(
        7.0, gt=0, le=365, description="after which a message that does not arrive is a dead letter"
    )
    backlog: int = Field(
        100_000, ge=1, le=10_000_000, description="messages that may wait; more are not kept"
    )

    @property
    @abstractmethod
    def told(self) -> tuple[str, ...]:
        """The events it is told of."""

    @property
    @abstractmethod
    def target(self) -> str:
        """Where it leads, and nothing else; what waits goes nowhere else when that changes."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """Where it leads, as it may be shown: an address without what may be a secret."""

    @abstractmethod
    def send(self, notice: Notice) -> None:
        """Returns when the receiver has taken the message; else raises a `FeilunError`, which
        holds nothing of the message."""


def _named_apart(channels: Sequence[Channel]) -> Sequence[Channel]:
    names = [channel.name for channel in channels]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(_("two channels are named '{name}'").format(name=twice[0]))
    return channels


Channels = Annotated[tuple[SerializeAsAny[Channel], ...], AfterValidator(_named_apart)]
"""The channels of a project, each with a name of its own."""
