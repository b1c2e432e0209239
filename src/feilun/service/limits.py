"""What a key may use: requests a minute, predictions and money a month."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import NamedTuple, Self

from feilun.core.errors import Throttled, shortened
from feilun.core.i18n import _
from feilun.service.buckets import Buckets
from feilun.store import EventLog
from feilun.store.events.usage import read_usage
from feilun.team import Key

RELOAD_SECONDS = 1.0
_KEYS = 65536


class RateLimited(Throttled):
    """The key has sent more requests than it may."""

    def __init__(self, key: str, per_minute: int, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(
            _("Key {key} may send {count} requests a minute; feilun key limit sets it.").format(
                key=key, count=per_minute
            ),
            remedy=_("Try again in {seconds} s, as Retry-After says.").format(
                seconds=retry_seconds
            ),
        )


class QuotaExhausted(Throttled):
    """The key has used what it may use in a month."""

    def __init__(self, key: str, used: str, limit: str, option: str, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(
            _(
                "Key {key} has used {used} of the {limit} it has this month (UTC); feilun key "
                "limit {option} sets it."
            ).format(key=key, used=used, limit=limit, option=option),
            remedy=f"feilun key limit {shortened(key)} {option} N",
        )


class Admission(NamedTuple):
    """Whether a request may go on: the headers that tell its sender how it stands (none where
    the key has no limit), and the error that stops it."""

    headers: tuple[tuple[bytes, bytes], ...] = ()
    error: RateLimited | None = None


class Reservation:
    """A share of a quota, taken when the block is left; given back if it raises.

    Set `cost` within the block to what it cost in money.
    """

    def __init__(self, spent: _Spent | None, predictions: int) -> None:
        self._spent = spent
        self._predictions = predictions
        self.cost = 0.0

    def __enter__(self) -> Self:
        if self._spent is not None:
            self._spent.reserved += self._predictions
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._spent is not None:
            self._spent.reserved -= self._predictions
            if kind is None:
                self._spent.predictions += self._predictions
                self._spent.cost += self.cost


class Limits:
    """Holds keys to their limits, in the memory of this process.

    The rate is a token bucket per key, which begins full. What of a quota is used is read from
    the stored usage and counted on from there, and read anew whenever a second has passed and
    nothing is under way: requests that come at the same time cannot use one prediction twice,
    and what another process answered is seen. All of it belongs to one event loop.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._rates = Buckets(_KEYS)
        self._spent: dict[str, _Spent] = {}

    def admit(self, key: Key) -> Admission:
        """Counts one request; see `Admission`."""
        per_minute = key.limits.per_minute
        if per_minute is None:
            return _ADMITTED
        capacity, per_second = key.limits.burst or per_minute, per_minute / 60.0
        level = self._rates.take(key.id, capacity, per_second, time.monotonic())
        left = max(0.0, level - 1.0) if level >= 1.0 else level
        # The fields of draft-ietf-httpapi-ratelimit-headers: a quota per window, what remains
        # of it, and after how many seconds it is whole again.
        window, reset = math.ceil(capacity / per_second), math.ceil((capacity - left) / per_second)
        headers = (
            (b"ratelimit-policy", b'"key";q=%d;w=%d' % (capacity, window)),
            (b"ratelimit", b'"key";r=%d;t=%d' % (int(left), reset)),
        )
        if level >= 1.0:
            return Admission(headers)
        wait = max(1, math.ceil((1.0 - level) / per_second))
        return Admission(headers, RateLimited(key.id, per_minute, wait))

    async def reserve(self, key: Key, predictions: int) -> Reservation:
        """A block in which so many predictions are the key's; raises `QuotaExhausted` when it has
        fewer left, or has spent its money.

            with await limits.reserve(key, len(inputs)) as reserved:
                ...
                reserved.cost = 0.002
        """
        limits = key.limits
        if limits.monthly is None and limits.monthly_cost is None:
            return Reservation(None, predictions)
        spent = await self._current(key.id)
        used = spent.predictions + spent.reserved
        if limits.monthly is not None and used + predictions > limits.monthly:
            raise QuotaExhausted(
                key.id,
                _("{count:,} predictions").format(count=used),
                f"{limits.monthly:,}",
                "--monthly",
                _seconds_left(),
            )
        if limits.monthly_cost is not None and spent.cost >= limits.monthly_cost:
            raise QuotaExhausted(
                key.id,
                f"{spent.cost:,.4g}",
                f"{limits.monthly_cost:,.4g}",
                "--monthly-cost",
                _seconds_left(),
            )
        return Reservation(spent, predictions)

    async def _current(self, key: str) -> _Spent:
        spent = self._spent.setdefault(key, _Spent())
        if spent.stale():
            async with spent.lock:
                if spent.stale():
                    at, month = time.monotonic(), _month()
                    sums = await asyncio.to_thread(self._read, key, month)
                    spent.loaded_at, spent.month = at, month
                    spent.predictions, spent.cost = sums
        return spent

    def _read(self, key: str, month: str) -> tuple[int, float]:
        with self._events.database.read() as connection:
            days = read_usage(connection, month, key)
        return sum(day.predictions for day in days), math.fsum(day.cost for day in days)


class _Spent:
    """What a key has used in a month, and what is reserved for requests under way."""

    def __init__(self) -> None:
        self.month = ""
        self.predictions = 0
        self.cost = 0.0
        self.reserved = 0
        self.loaded_at = -math.inf
        self.lock = asyncio.Lock()

    def stale(self) -> bool:
        """Whether it must be read before it can be relied on."""
        idle = self.reserved == 0 and time.monotonic() - self.loaded_at > RELOAD_SECONDS
        return idle or self.month != _month()


_ADMITTED = Admission()


def _month() -> str:
    """The first day of this month, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-01")


def _seconds_left() -> int:
    """How many seconds this month still has."""
    now = datetime.now(UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    return math.ceil((following - now).total_seconds())
