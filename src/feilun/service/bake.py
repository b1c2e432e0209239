"""Watches the model that has just gone live beside the one before it, and rolls a bad one back.

The model before stays loaded. It answers at once what the new one fails at, and afterwards, for a
tenth of the time at most, some of what the new one has answered, so that the two can be compared
on the same texts. The thread that looks at the aliases judges once a second.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from feilun.core.artifacts import Model
from feilun.core.errors import FeilunError
from feilun.core.i18n import N_
from feilun.models import Predictor
from feilun.service.judgement import ANSWERS, ERRORS, SLOW, UNFIT, Fault, Judge
from feilun.stages.serve import Answered, Engine
from feilun.stages.serve.bake import Bake
from feilun.store.clock import now
from feilun.store.control import AliasRow, Control, LiveMoved
from feilun.tasks import Task
from feilun.tasks.task import Input
from feilun.wheel.turn import LIVE
from feilun.wheel.withdrawn import SERVICE

SHARE = 0.1
"""Of the time, that the model before may take to be compared with, most."""
BATCHES, TEXTS = 128, 16
"""Batches that wait to be compared, and texts of each, most: the newest."""
STUCK_LOOKS = 10
"""Looks, a second apart, that find the engine in one batch, before it can be stuck. Looks are
counted and no time, which goes on while the whole process stands still."""
log = logging.getLogger("feilun.service")


class _Batch(NamedTuple):
    inputs: list[Input]
    written: list[str | None]
    seconds: float


class Baking:
    """The watch over one model, of which `compute` is the engine's way; `before` is the one
    before it, its digest and loaded.

    The engine's thread calls `computed`, the thread that judges everything else.
    """

    def __init__(
        self, model: str, before: tuple[str, Predictor], task: Task, settings: Bake, seconds: float
    ) -> None:
        self.model = model
        self.before = before
        self.requests = 0
        self.failed = 0
        self.until = time.monotonic() + seconds
        self._task = task
        self._judge = Judge(settings)
        self._seen: deque[_Batch] = deque(maxlen=BATCHES)
        self._began = time.monotonic()
        self._spent = 0.0
        self._batch = 0
        self._texts = 0
        self._looked_at = (0, 0)

    def computed(
        self,
        compute: Callable[[str, Predictor, list[Any]], list[Any]],
        digest: str,
        predictor: Predictor,
        batch: list[Any],
    ) -> list[Any]:
        """What `compute` gives; where the new model fails at it and the one before does not, what
        that gives. Raises what the new one does otherwise."""
        if digest != self.model:
            return compute(digest, predictor, batch)
        self._batch += 1
        self._texts = sum(len(work.inputs) for work in batch)
        began = time.perf_counter()
        try:
            found = compute(digest, predictor, batch)
        except FeilunError:
            raise
        except Exception as error:
            return self._rescued(compute, batch, error)
        finally:
            self._texts = 0
        self.requests += len(batch)
        if isinstance(found[0], Answered) and found[0].answers:
            self._keep(batch, found, time.perf_counter() - began)
        return found

    def fault(self) -> Fault | None:
        """What is wrong with the new model as far as is known, after a comparison of what it has
        answered since the last look."""
        while True:
            try:
                batch = self._seen.popleft()
            except IndexError:
                break
            self._judge.paced(batch.seconds)
            allowed = SHARE * (time.monotonic() - self._began + 1.0)
            if batch.inputs and self._spent < allowed:
                self._compare(batch)
        return self._stuck() or self._judge.fault(self.requests, self.failed)

    def _rescued(
        self,
        compute: Callable[[str, Predictor, list[Any]], list[Any]],
        batch: list[Any],
        error: Exception,
    ) -> list[Any]:
        try:
            found = compute(*self.before, batch)
        except Exception:
            # Both fail: that is the input's doing, or the machine's.
            raise error from None
        self.requests += len(batch)
        self.failed += len(batch)
        if self.failed == len(batch):
            log.error("%s fails where the model before does not: %s", self.model, _named(error))
        return found

    def _keep(self, batch: list[Any], found: list[Answered], seconds: float) -> None:
        inputs: list[Input] = []
        written: list[str | None] = []
        total = 0
        for work, one in zip(batch, found, strict=True):
            total += len(work.inputs)
            room = 0 if self._judge.satisfied else TEXTS - len(inputs)
            if room > 0:
                inputs += work.inputs[:room]
                written += [answer.written for answer in one.answers[:room]]
        self._seen.append(_Batch(inputs, written, seconds / max(total, 1)))

    def _compare(self, batch: _Batch) -> None:
        began = time.perf_counter()
        try:
            answers = self._task.answers(self.before[1], batch.inputs)
        except Exception as error:
            log.warning("%s cannot be compared with: %s", self.before[0], _named(error))
            return
        finally:
            seconds = time.perf_counter() - began
            self._spent += seconds
        others = [one.written for one in answers]
        self._judge.compare(batch.inputs, batch.written, others, seconds)

    def _stuck(self) -> Fault | None:
        batch, looks = self._looked_at
        texts = self._texts
        looks = looks + 1 if texts and batch == self._batch else 0
        self._looked_at = (self._batch, looks)
        if looks < STUCK_LOOKS or looks <= texts * self._judge.slowest:
            return None
        template = N_(
            "rolled back from {model}: it has been busy with a batch of {texts} for {looks} seconds"
        )
        return Fault(SLOW, template, {"looks": looks, "texts": texts})


class Rollbacks:
    """Watches each new live model of a service for `[serve.bake] minutes`, and makes the one before
    live again where the new one is broken. Registered as a collector of metrics."""

    def __init__(self, control: Control, engine: Engine, task: Task, settings: Bake) -> None:
        self._control = control
        self._engine = engine
        self._task = task
        self._settings = settings
        self._baking: Baking | None = None
        self._rescued = 0
        self.causes: Counter[str] = Counter()
        """How often this service rolled back, by cause."""

    @property
    def rescued(self) -> int:
        """Requests that the model before answered because the new one failed."""
        return self._rescued + (self._baking.failed if self._baking else 0)

    def begin(self, digest: str, loaded: Mapping[str, tuple[Model, Predictor]]) -> None:
        """Watches the model, which the engine has, if it has just gone live for the first time
        and one of the `loaded` was live before it, for the same task."""
        moves = self._control.history(LIVE)
        seconds = self._left(moves, digest)
        before = next((row.digest for row in moves[1:] if row.digest in loaded), None)
        if seconds <= 0 or before is None or loaded[before][0].task != loaded[digest][0].task:
            self._watch(None)
            return
        spare = (before, loaded[before][1])
        self._watch(Baking(digest, spare, self._task, self._settings, seconds))

    def look(self) -> bool:
        """Whether what is live has been moved back just now."""
        baking = self._baking
        if baking is None:
            return False
        if self._engine.model != baking.model:
            self._watch(None)
            return False
        fault = baking.fault()
        if fault is not None and self._moved(baking.model, baking.before[0], fault):
            return True
        if time.monotonic() >= baking.until:
            log.info("%s was watched: %d requests", baking.model, baking.requests)
            self._watch(None)
        return False

    def unfit(self, digest: str, said: str) -> None:
        """The model has gone live and cannot be loaded, again: the one that answers now is made
        live."""
        answering = self._engine.model
        if answering is None or self._left(self._control.history(LIVE), digest) <= 0:
            return
        template = N_("rolled back from {model}: it cannot be loaded: {said}")
        self._moved(digest, answering, Fault(UNFIT, template, {"said": said}))

    def collect(self) -> Iterable[Metric]:
        """What Prometheus is told of this."""
        rollbacks = CounterMetricFamily(
            "feilun_rollbacks",
            "Times that the service made the model before live again, by cause",
            labels=["cause"],
        )
        for cause in (ERRORS, SLOW, ANSWERS, UNFIT):
            rollbacks.add_metric([cause], self.causes[cause])
        yield rollbacks
        yield CounterMetricFamily(
            "feilun_rescued_requests",
            "Requests that the model before answered because the new one failed",
            value=self.rescued,
        )
        yield GaugeMetricFamily(
            "feilun_baking",
            "1 while a new live model is watched beside the one before it",
            value=float(self._baking is not None),
        )

    def _watch(self, baking: Baking | None) -> None:
        before, self._baking = self._baking, baking
        self._engine.through = baking.computed if baking is not None else None
        self._rescued += before.failed if before is not None else 0

    def _left(self, moves: Sequence[AliasRow], digest: str) -> float:
        """For how many seconds the model is still to be watched."""
        if not moves or moves[0].digest != digest:
            return 0.0
        # Who goes back to a model that was live before knows it, and has the last word.
        if any(row.digest == digest for row in moves[1:]):
            return 0.0
        since = datetime.fromisoformat(now()) - datetime.fromisoformat(moves[0].at)
        return 60 * self._settings.minutes - since.total_seconds()

    def _moved(self, bad: str, before: str, fault: Fault) -> bool:
        reason = fault.reason(bad)
        try:
            self._control.move_alias(
                LIVE, before, expected=bad, by=SERVICE, reason=reason.model_dump_json()
            )
        except LiveMoved:
            return False
        self.causes[fault.cause] += 1
        log.error("%s is live again, %s", before, reason)
        return True


def _named(error: Exception) -> str:
    """An error's kind alone: its words may hold what was in a request."""
    return type(error).__name__
