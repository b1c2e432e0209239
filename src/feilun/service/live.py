"""Keeps the engine loaded with what is live.

A thread looks at the alias about once a second and swaps the model when it has moved. A model
that cannot be loaded is refused: the one before it goes on answering, and the refusal is
logged and shown in the metrics.
"""

from __future__ import annotations

import logging
import threading
import time

from feilun.core.artifacts import Model
from feilun.core.errors import FeilunError
from feilun.core.refs import Ref
from feilun.models import Predictor, load
from feilun.stages.serve import Engine
from feilun.store.disk import write_file
from feilun.wheel.project import Project
from feilun.wheel.turn import LIVE

LOOK_SECONDS = 1.0
RETRY_SECONDS = 30.0
_PROBE_BYTES = 65536
log = logging.getLogger("feilun.service")


class Live:
    """The engine, what it is loaded with, and whether requests can be answered."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.task = project.settings.project.task
        self.engine = Engine(self.task, project.settings.serve.queue)
        self.model: Model | None = None
        self.refused: str | None = None
        self.draining = False
        self._refused_at = 0.0
        self._full = False
        self._loaded: dict[str, tuple[Model, Predictor]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether a request sent now would be answered."""
        return self.engine.model is not None and not self.draining and not self._full

    def start(self) -> None:
        """Loads what is live and begins to watch; raises what keeps the live model from being
        loaded (`DamagedBlob`, `BlobMissing`, `NotAModel`); once is enough."""
        if self._thread is None:
            row = self._project.control.alias(LIVE)
            if row is not None:
                self._swap(row.digest)
            self._thread = threading.Thread(target=self._watch, name="live", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stops watching, answers what waits, then stops."""
        self.draining = True
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.engine.close()

    def storage_failed(self) -> None:
        """From now on not ready, until the disk takes a file again."""
        self._full = True

    def look(self) -> None:
        """Loads what is live if it changed; called by the thread, and by whoever cannot wait."""
        row = self._project.control.alias(LIVE)
        if row is None or row.digest == self.engine.model:
            return
        again = time.monotonic() - self._refused_at > RETRY_SECONDS
        if row.digest == self.refused and not again:
            return
        try:
            self._swap(row.digest)
        except Exception as error:
            # Whatever is wrong with it, the model that answers now must go on answering.
            self.refused, self._refused_at = row.digest, time.monotonic()
            said = error.message if isinstance(error, FeilunError) else type(error).__name__
            log.error("%s is not served: %s", row.digest, said)

    def _swap(self, digest: str) -> None:
        if digest not in self._loaded:
            model = self._project.model(Ref("model", digest))
            predictor = load(self._project.blobs_of(model))
            # The one before stays loaded, so that going back to it takes no time.
            before = {d: kept for d, kept in self._loaded.items() if d == self.engine.model}
            self._loaded = {**before, digest: (model, predictor)}
        model, predictor = self._loaded[digest]
        self.engine.swap(digest, predictor)
        self.model, self.refused = model, None

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
                if self._full:
                    self._probe()
            except Exception as error:
                log.warning("what is live could not be looked up: %s", type(error).__name__)

    def _probe(self) -> None:
        path = self._project.folder / "probe"
        try:
            write_file(path, b"\0" * _PROBE_BYTES)
        except FeilunError:
            return
        finally:
            path.unlink(missing_ok=True)
        self._full = False
