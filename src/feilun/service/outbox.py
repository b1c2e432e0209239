"""Sends what the outbox holds, a thread for each channel, so that none waits for another's.

A message that did not arrive is tried again after 5 s, then twice as long, at most an hour, each
time with a chance of half of that more or less, so that many do not come at once. A channel that
failed three times in a row rests in the same way, while one message after the other asks whether
it is back.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

from feilun.core.errors import Busy, FeilunError
from feilun.stages.serve.channel import Channel
from feilun.store.disk import Locked, lock
from feilun.store.events.outbox import Delivery, Outbox
from feilun.wheel import notices
from feilun.wheel.project import Project

LOOK_SECONDS = 1.0
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 3600.0
LONGEST_REST_SECONDS = 300.0
_TOLERATED = 3
_COUNT_SECONDS = 10.0
_LAST_SECONDS = 6.0
_DAY_SECONDS = 86_400.0
log = logging.getLogger("feilun.service")


class Told(Protocol):
    """What is told of each try; see `Metrics`."""

    def sent(self, channel: str, outcome: str) -> None:
        """Counts one try."""

    def waiting(self, channel: str, waiting: int, dead: int) -> None:
        """How many messages wait for the channel, and how many were given up."""


class Courier:
    """Sends the messages of one channel; `step` sends all that are due."""

    def __init__(
        self,
        project: Project,
        channel: Channel,
        told: Told | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._project = project
        self._outbox: Outbox = notices.outbox(project)
        self._channel = channel
        self._told = told
        self._clock = clock
        self._chance = chance
        self._target = notices.address(channel).target
        self._failures = 0
        self._rests_until = 0.0

    def step(self, stop: threading.Event | None = None) -> int:
        """How many messages arrived; ends when none is due, or the channel needs a rest."""
        arrived = 0
        while stop is None or not stop.is_set():
            now = self._clock()
            if now < self._rests_until:
                break
            delivery = self._outbox.next_due(self._channel.name, now)
            # Another process may have opened the channel with another address in the meantime.
            if delivery is None or delivery.target != self._target:
                break
            arrived += self._send(delivery)
        return arrived

    def _send(self, delivery: Delivery) -> bool:
        notice = notices.notice(self._project, delivery, self._channel)
        if notice is None:
            self._outbox.forget(delivery)
            return False
        try:
            self._channel.send(notice)
        except Exception as error:
            self._failed(delivery, error)
            return False
        self._outbox.arrived(delivery, self._clock())
        self._failures = 0
        self._count("delivered")
        return True

    def _failed(self, delivery: Delivery, error: Exception) -> None:
        now = self._clock()
        code = error.code if isinstance(error, FeilunError) else type(error).__name__
        dead = now - delivery.since >= self._channel.give_up_days * _DAY_SECONDS
        due_at = None if dead else now + self._wait(delivery.attempts, LONGEST_WAIT_SECONDS)
        self._outbox.failed(delivery, code, now, due_at)
        self._failures += 1
        if self._failures >= _TOLERATED:
            rest = self._wait(self._failures - _TOLERATED, LONGEST_REST_SECONDS)
            self._rests_until = now + rest
        self._count("dead" if dead else "failed")
        log.warning("a message to %s did not arrive: %s", self._channel.name, code)

    def _wait(self, times: int, longest: float) -> float:
        wait = min(longest, FIRST_WAIT_SECONDS * 2.0 ** min(times, 30))
        return wait * (0.5 + self._chance())

    def _count(self, outcome: str) -> None:
        if self._told is not None:
            self._told.sent(self._channel.name, outcome)


class Sender:
    """The threads that send: one that announces what happened in the control database, and one
    for each channel. Of several services of one project, one sends."""

    def __init__(self, project: Project, told: Told | None = None) -> None:
        self._project = project
        self._told = told
        self._counts_at = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins, if the settings have a channel or once had one; once is enough."""
        if self._thread is not None:
            return
        if not self._project.settings.serve.notify and not notices.outbox(self._project).channels():
            return
        self._thread = threading.Thread(target=self._lead, name="outbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends after the messages that are being sent now."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _lead(self) -> None:
        """Waits until no other process sends, then sends until the end."""
        path = self._project.folder / "outbox.lock"
        while not self._stop.is_set():
            try:
                with lock(path, what="outbox"):
                    self._work()
            except Locked:
                pass
            except Exception as error:
                log.warning("the outbox cannot be used now: %s", _name(error))
            self._stop.wait(LOOK_SECONDS)

    def _work(self) -> None:
        notices.open_channels(self._project)
        couriers = [
            threading.Thread(
                target=self._carry, args=(channel,), name=f"to-{channel.name}", daemon=True
            )
            for channel in self._project.settings.serve.notify
        ]
        for courier in couriers:
            courier.start()
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._count()
                notices.follow_history(self._project)
            except Exception as error:
                log.warning("what happened could not be announced: %s", _name(error))
        for courier in couriers:
            # One that is cut off in the middle of a message sends it again after the next start.
            courier.join(_LAST_SECONDS)

    def _count(self) -> None:
        if self._told is None or time.monotonic() < self._counts_at:
            return
        self._counts_at = time.monotonic() + _COUNT_SECONDS
        for row in notices.outbox(self._project).channels():
            self._told.waiting(row.name, row.waiting, row.dead)

    def _carry(self, channel: Channel) -> None:
        courier = Courier(self._project, channel, self._told)
        while not self._stop.wait(LOOK_SECONDS):
            try:
                courier.step(self._stop)
            except Busy:
                continue
            except Exception as error:
                # A full disk or a damaged row must not end the thread: it looks again later.
                log.warning("messages to %s cannot be sent now: %s", channel.name, _name(error))


def _name(error: Exception) -> str:
    return error.code if isinstance(error, FeilunError) else type(error).__name__
