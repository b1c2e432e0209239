"""Keeps the engine loaded with what is live, and the shadow with what stands in it.

A thread looks at the aliases about once a second and swaps a model when one has moved. A model
that cannot be loaded is refused: the one before it goes on answering, also in a process that has
just begun, and the refusal is logged and shown in the metrics. What was live before stays loaded,
so that going back to it takes no time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from feilun.core.artifacts import Model
from feilun.core.errors import FeilunError
from feilun.core.refs import Ref
from feilun.models import Predictor, load
from feilun.service.bake import Rollbacks
from feilun.service.computing import Further, in_time
from feilun.service.shadow import Shadow
from feilun.service.telemetry import step
from feilun.stages.serve import Answered, Engine
from feilun.store.disk import write_file
from feilun.tasks.task import Input
from feilun.wheel.project import Project
from feilun.wheel.shadow import SHADOW
from feilun.wheel.turn import LIVE
from feilun.wheel.withdrawn import withdrawn

LOOK_SECONDS = 1.0
RETRY_SECONDS = 30.0
_PROBE_BYTES = 65536
log = logging.getLogger("feilun.service")


class Live:
    """The engine, what it is loaded with, and whether requests can be answered."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.task = project.settings.project.task
        serve = project.settings.serve
        self.engine = Engine(
            self.task,
            serve.queue,
            texts=serve.queue_texts,
            price=serve.machine_price,
        )
        self.further = Further(self.task, serve.cascade)
        self.shadow = Shadow(
            self.task, lambda: project.events, serve.shadow_share, lambda: self.engine.idle
        )
        self.rollbacks = Rollbacks(project.control, self.engine, self.task, serve.bake)
        self.model: Model | None = None
        self.refused: str | None = None
        self.draining = False
        self.swaps = 0
        self._refused_at = 0.0
        self._unfit: str | None = None
        self._full = False
        self._loaded: dict[str, tuple[Model, Predictor]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether a request sent now would be answered."""
        return self.engine.model is not None and self.takes_requests

    @property
    def takes_requests(self) -> bool:
        """Whether the service is neither shutting down nor without room to log; what needs no
        model of its own is answered then."""
        return not self.draining and not self._full

    def start(self) -> None:
        """Loads what is live and begins to watch; once is enough. Where that cannot be loaded, what
        was live before answers in its place; where there is none, or that cannot either, raises
        what is wrong with the live one (`DamagedBlob`, `BlobMissing`, `NotAModel`)."""
        if self._thread is None:
            row = self._project.control.alias(LIVE)
            if row is not None:
                try:
                    self._swap(row.digest)
                except Exception as error:
                    if not self._swap_back():
                        raise
                    self._refuse(row.digest, _said(error))
            self._thread = threading.Thread(target=self._watch, name="live", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stops watching, answers what waits, then stops."""
        self.draining = True
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.shadow.close()
        self.engine.close()
        self.further.close()

    def deadline(self, seconds: float | None = None) -> float:
        """When a request that comes now must be answered, as `time.monotonic` counts: after
        `[serve] timeout_seconds`, or the fewer `seconds` that it asks for."""
        longest = self._project.settings.serve.timeout_seconds
        return time.monotonic() + min(longest, longest if seconds is None else seconds)

    async def answered(self, inputs: Sequence[Input], deadline: float) -> Answered:
        """The answers of the live model, with nothing left open; raises `TooLate`, and what
        `Engine.submit` raises."""
        future = self.engine.submit(inputs, deadline, leaves=self.further.follows)
        began = time.perf_counter()
        found = await in_time(future, deadline)
        step("queue", began, found.began)
        step("engine", found.began, found.ended)
        return await self.further.finished(inputs, found, deadline)

    def storage_failed(self) -> None:
        """From now on not ready, until the disk takes a file again."""
        self._full = True

    def look(self) -> None:
        """Loads what is live if it changed; called by the thread, and by whoever cannot wait."""
        row = self._project.control.alias(LIVE)
        if row is None or row.digest == self.engine.model:
            self.refused = None
            return
        again = time.monotonic() - self._refused_at > RETRY_SECONDS
        if row.digest == self.refused and not again:
            return
        try:
            self._swap(row.digest)
        except Exception as error:
            # Whatever is wrong with it, the model that answers now must go on answering.
            again = row.digest == self.refused
            self._refuse(row.digest, _said(error))
            if again:
                self.rollbacks.unfit(row.digest, _said(error))

    def _refuse(self, digest: str, said: str) -> None:
        log.error("%s is not served: %s", digest, said)
        self.refused, self._refused_at = digest, time.monotonic()

    def _swap_back(self) -> bool:
        """Loads the newest of those that were live before, were not rolled back and can be
        loaded."""
        bad = withdrawn(self._project.control.history(LIVE))
        for digest in self._before():
            if digest not in bad and self._tried(
                "what was live before is not loaded", partial(self._swap, digest)
            ):
                return True
        return False

    def _before(self) -> list[str]:
        """What was live before, the newest first."""
        digests = [row.digest for row in self._project.control.history(LIVE)]
        return [digest for digest in dict.fromkeys(digests) if digest != digests[0]]

    def _swap(self, digest: str) -> None:
        model, predictor = self._opened(digest)
        self.engine.swap(digest, predictor)
        self.swaps += self.model is not None
        before = self.model.digest if self.model else None
        kept = {digest, before, self.shadow.model}
        self._loaded = {d: one for d, one in self._loaded.items() if d in kept}
        self.model, self.refused = model, None
        self.rollbacks.begin(digest, self._loaded)

    def _opened(self, digest: str) -> tuple[Model, Predictor]:
        if digest not in self._loaded:
            model = self._project.model(Ref("model", digest))
            self._loaded[digest] = (model, load(self._project.blobs_of(model)))
        return self._loaded[digest]

    def _look_back(self) -> None:
        """Loads what was live before, which a process that has just begun has never seen."""
        before = self._before()
        if before and self.model is not None and before[0] != self.model.digest:
            self._opened(before[0])
            self.rollbacks.begin(self.model.digest, self._loaded)

    def look_in_the_shadow(self) -> None:
        """Loads what stands in the shadow if that changed; called by the thread."""
        row = self._project.control.alias(SHADOW)
        digest = row.digest if row is not None else ""
        live = self.model.digest if self.model else None
        if not digest or digest == live:
            self.shadow.unload()
        elif digest not in {self.shadow.model, self._unfit}:
            # Once only: a shadow that cannot be loaded is no reason to try every second.
            self._unfit = digest
            self.shadow.load(digest, self._opened(digest)[1])
            self._unfit = None

    def _watch(self) -> None:
        self._tried("what was live before is not loaded", self._look_back)
        while not self._stop.wait(LOOK_SECONDS):
            self._tried("what stands in the shadow is not loaded", self.look_in_the_shadow)
            try:
                self.look()
                if self.rollbacks.look():
                    self.look()
                if self._full:
                    self._probe()
            except Exception as error:
                log.warning("what is live could not be looked up: %s", type(error).__name__)

    def _tried(self, failed: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except Exception as error:
            log.warning("%s: %s", failed, _said(error))
            return False
        return True

    def _probe(self) -> None:
        path = self._project.folder / "probe"
        try:
            write_file(path, b"\0" * _PROBE_BYTES)
        except FeilunError:
            return
        finally:
            path.unlink(missing_ok=True)
        self._full = False


def _said(error: Exception) -> str:
    return error.message if isinstance(error, FeilunError) else type(error).__name__
