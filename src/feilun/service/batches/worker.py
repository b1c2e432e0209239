"""Working batches off: one thread, behind every live request, and on from where it was killed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from contextlib import suppress
from typing import BinaryIO

import sqlalchemy as sa

from feilun.core.errors import Busy, FeilunError, Full, NotWritable, Throttled
from feilun.service import answering
from feilun.service.answering import OtherTask, Service
from feilun.service.batches.intake import FOLDER, path_of
from feilun.service.batches.lines import Line, answered, parse, raw_lines, refused
from feilun.service.errors import ours
from feilun.stages.serve import Answered
from feilun.store.clock import new_id, now
from feilun.store.events import PredictionRow
from feilun.store.events.batches import (
    CANCELLED,
    COMPLETED,
    FAILED,
    Batch,
    BatchEnded,
    Batches,
    BatchForgotten,
    BatchPiece,
)
from feilun.team import Key
from feilun.team.keys import StoredKey

PIECE_INPUTS = 64
"""Of one step: what a live request may have to wait for."""
PIECE_SECONDS = 3600.0
"""Within which a piece must be answered; far longer than any live request may wait."""
LOOK_SECONDS = 1.0
"""Between two looks for new batches, when there are none."""
PATIENCE_SECONDS = 2.0
"""How long live requests may hold batches up before a piece gets its turn among them."""
_PAUSE_SECONDS = 0.005
_ORPHAN_SECONDS = 3600.0
log = logging.getLogger("feilun.service")


class _Reading:
    """A batch's open input, the lines still to be read, and the piece that is at hand."""

    def __init__(self, source: BinaryIO, longest: int) -> None:
        self.source = source
        self.lines = raw_lines(source, longest)
        self.piece: list[Line] = []


class Worker:
    """The thread that works batches off, in turn, a piece of each."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._batches = Batches(service.project.events.database)
        self._open: dict[str, _Reading] = {}
        self._keys: dict[str, StoredKey] = {}
        self._key_changes = (-1, -1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins; predictions are awaited on `loop`, where live requests are, for quotas and the
        engine's line are theirs too. Once is enough."""
        self._loop = loop
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """There is a new batch."""
        self._news.set()

    def close(self) -> None:
        """Ends after the piece at hand; what is left goes on at the next start. Not to be called
        on the loop, which the piece at hand may still need."""
        self._stop.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()
        for reading in self._open.values():
            reading.source.close()
        self._open.clear()

    def _run(self) -> None:
        forgotten = 0.0
        while not self._stop.is_set():
            worked = False
            try:
                if time.monotonic() - forgotten > _ORPHAN_SECONDS or not forgotten:
                    self._forget()
                    forgotten = time.monotonic()
                unfinished = self._batches.open()
                for identity in self._open.keys() - {batch.id for batch in unfinished}:
                    self._close(identity)
                for batch in unfinished:
                    worked = self._step(batch) or worked
            except (Full, NotWritable):
                self._service.live.storage_failed()
            except Exception as error:
                # Whatever it is must neither end the thread nor make it run hot.
                worked = False
                ours(error)
            if not worked:
                self._news.wait(LOOK_SECONDS)
                self._news.clear()

    def _step(self, batch: Batch) -> bool:
        """Works off one piece of a batch; whether anything was done."""
        if self._stop.is_set() or not self._turn():
            return False
        reading = self._open.get(batch.id) or self._reopen(batch)
        if reading is None:
            return True
        key = self._key(batch)
        if key is None:
            # Revoked or expired: what it may no longer ask for is not done for it either.
            self._end(batch, CANCELLED)
            return True
        piece = reading.piece = reading.piece or self._piece(batch, reading)
        if not piece:
            self._end(batch, COMPLETED)
            return True
        try:
            self._work(batch, key, piece)
        except Busy:
            # The engine or the log is full: the same piece again, later.
            return False
        except sa.exc.IntegrityError:
            # Another process did this piece: ours was never written; look again.
            self._close(batch.id)
            return False
        reading.piece = []
        return True

    def _turn(self) -> bool:
        """Waits while live requests wait for the engine, but not for ever; whether there is
        anything to be had."""
        live = self._service.live
        until = time.monotonic() + PATIENCE_SECONDS
        while not live.engine.idle and time.monotonic() < until:
            if self._stop.wait(_PAUSE_SECONDS):
                return False
        return live.ready

    def _reopen(self, batch: Batch) -> _Reading | None:
        """A batch's input, read up to where its results end; None: it is gone or damaged, and
        the batch has failed."""
        try:
            # Owned by `_open` until the batch is closed.
            source = path_of(self._service.project.folder, batch.id).open("rb")
        except OSError:
            self._end(batch, FAILED)
            return None
        if hashlib.file_digest(source, "sha256").hexdigest() != batch.digest:
            source.close()
            log.error("batch %s: its input is damaged", batch.id)
            self._end(batch, FAILED)
            return None
        source.seek(0)
        reading = _Reading(source, self._service.project.settings.serve.max_body_bytes)
        for _line in range(batch.done):
            next(reading.lines, None)
        self._open[batch.id] = reading
        return reading

    def _piece(self, batch: Batch, reading: _Reading) -> list[Line]:
        """The next lines, of some `PIECE_INPUTS` inputs; none at the end."""
        piece: list[Line] = []
        count = 0
        longest = self._service.project.settings.serve.max_body_bytes
        use = self._service.live.task.use
        for number, raw in reading.lines:
            line = parse(number, raw, batch.task, longest)
            if line.problem is None:
                line = line._replace(problem=self._problem(batch, line, use))
            piece.append(line)
            count += max(1, len(line.inputs))
            if count >= PIECE_INPUTS:
                break
        return piece

    def _problem(self, batch: Batch, line: Line, use: str) -> FeilunError | None:
        if batch.task != use:
            return OtherTask(batch.task, use)
        try:
            answering.check(line.inputs, self._service.project.settings.serve)
        except FeilunError as error:
            return error
        return None

    def _work(self, batch: Batch, key: Key, piece: list[Line]) -> None:
        """Answers a piece in one go; if that fails, each line alone, so that one which the model
        cannot bear costs no other its answer."""
        assert self._loop is not None
        try:
            asyncio.run_coroutine_threadsafe(self._answer(batch, key, piece), self._loop).result()
        except (Busy, Full, NotWritable, sa.exc.IntegrityError):
            raise
        except Exception as error:
            if len(piece) == 1 or self._nothing_left(key):
                problem = ours(error)
                self._record(batch, [line._replace(problem=problem) for line in piece])
                return
            for at, line in enumerate(piece):
                self._work(batch._replace(done=batch.done + at), key, [line])

    async def _answer(self, batch: Batch, key: Key, piece: list[Line]) -> None:
        """Predicts and stores a piece; raises `QuotaExhausted` where the key may not have it."""
        service, started = self._service, time.perf_counter()
        good = [line for line in piece if line.problem is None]
        inputs = [given for line in good for given in line.inputs]
        if not inputs:
            await answering.stored(service, [_told(batch, piece, "".join(map(refused, piece)))])
            return
        with await service.limits.reserve(key, len(inputs)) as reserved:
            # The latest deadline of all: in the engine's line every live request goes first.
            found = await service.live.answered(inputs, time.monotonic() + PIECE_SECONDS)
            rows: list[PredictionRow] = []
            results: list[str] = []
            for line in piece:
                if line.problem is not None:
                    results.append(refused(line))
                    continue
                mine = _share(found, len(rows), len(line.inputs))
                own = answering.rows_of(service, line.inputs, mine, batch.key, started, "batch")
                request, whom = new_id("r"), None
                if line.subject is not None:
                    whom = service.project.privacy.digest(line.subject)
                own = [row._replace(request=request, subject=whom) for row in own]
                rows += own
                results.append(answered(line, answering.told(own, mine)))
            told = _told(batch, piece, "".join(results))
            await answering.stored(service, [*rows, told])
            reserved.cost = sum(row.cost for row in rows)
        answering.count(service, rows)

    def _nothing_left(self, key: Key) -> bool:
        """Whether the key's quota has no place for a single prediction."""
        assert self._loop is not None
        reserving = self._service.limits.reserve(key, 1)
        try:
            asyncio.run_coroutine_threadsafe(reserving, self._loop).result()
        except Throttled:
            return True
        return False

    def _record(self, batch: Batch, piece: list[Line]) -> None:
        told = _told(batch, piece, "".join(map(refused, piece)))
        self._service.project.events.record([told])

    def _key(self, batch: Batch) -> Key | None:
        """The batch's key, if it may still ask for anything."""
        keys = self._service.project.keys
        changes = keys.changes()
        if changes != self._key_changes:
            self._keys, self._key_changes = keys.stored(), changes
        stored = self._keys.get(batch.key)
        return stored.key if stored is not None and stored.key.open(now()) else None

    def _end(self, batch: Batch, state: str) -> None:
        self._service.project.events.record([BatchEnded(batch.id, state, time.time())])
        self._close(batch.id)
        path_of(self._service.project.folder, batch.id).unlink(missing_ok=True)

    def _close(self, identity: str) -> None:
        reading = self._open.pop(identity, None)
        if reading is not None:
            reading.source.close()

    def _forget(self) -> None:
        """Forgets what ended long ago, and removes inputs that nothing refers to: those of
        batches that ended, or whose row was never written."""
        project = self._service.project
        before = time.time() - project.settings.serve.batch_days * 86_400
        project.events.record([BatchForgotten(before)])
        for path in (project.folder / FOLDER).glob("*"):
            batch = self._batches.known(path.stem)
            with suppress(OSError):
                young = time.time() - path.stat().st_mtime < _ORPHAN_SECONDS
                if (batch is None and not young) or (batch is not None and not batch.open):
                    path.unlink(missing_ok=True)


def _share(found: Answered, begin: int, count: int) -> Answered:
    """Of the answers to several lines those of one."""
    end = begin + count
    return found._replace(
        answers=found.answers[begin:end],
        levels=found.levels[begin:end] if found.levels is not None else None,
        costs=found.costs[begin:end] if found.costs is not None else None,
    )


def _told(batch: Batch, piece: list[Line], content: str) -> BatchPiece:
    errors = sum(line.problem is not None for line in piece)
    return BatchPiece(batch.id, batch.done, len(piece), errors, content)
