"""Taking a batch in: its lines go from the connection to a file, never whole into memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import Any, BinaryIO

from starlette.types import Receive

from feilun.core.errors import Invalid, disk_error
from feilun.core.i18n import _
from feilun.service import bodies
from feilun.service.answering import Service, stored
from feilun.service.errors import Malformed, TooLarge, TooSlow, json_bytes
from feilun.service.repeats import Keep
from feilun.store.clock import new_id
from feilun.store.disk import TEMPORARY, sync_folder
from feilun.store.events.batches import Batch, BatchAdded
from feilun.team import Key

FOLDER = "batches"
"""In the project's state: the inputs of unfinished batches, a file each."""
SLOWEST = 65_536
"""Bytes a second that a client must send, after `bodies.BODY_SECONDS`."""


class TooManyLines(Invalid):
    """A batch has more lines than allowed."""

    kind = "large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            _("The batch has more than {limit} lines; [serve] max_batch_lines allows that.").format(
                limit=limit
            ),
            remedy=_("Send it in several batches, or raise max_batch_lines in feilun.toml."),
        )


async def take_in(
    service: Service, receive: Receive, key: Key, name: str | None = None
) -> tuple[bytes, bool]:
    """The new batch as JSON, once its lines and its row are durable; and whether the request of
    that `name` made it before.

    Raises `TooLarge`, `TooManyLines`, `TooSlow`, `Malformed` (empty, or broken off),
    `TooManyBatches`, `QuotaExhausted`, `NotStored`; then nothing is kept.
    """
    project = service.project
    serve = project.settings.serve
    identity = new_id("b")
    intake = _Intake(path_of(project.folder, identity), serve.max_batch_lines)
    kept = False

    async def make(keep: Keep | None = None) -> dict[str, Any]:
        nonlocal kept
        # Only asked for: what is really used is reserved piece by piece.
        await service.limits.reserve(key, intake.lines)
        await asyncio.to_thread(intake.keep)
        batch = Batch(
            identity, key.id, time.time(), service.live.task.use, intake.lines, intake.bytes,
            intake.digest.hexdigest(),
        )  # fmt: skip
        content = batch.shown()
        added = BatchAdded(batch, serve.max_batches)
        await stored(service, [added] if keep is None else [added, keep(content)])
        kept = True
        return content

    try:
        await intake.receive(receive, serve.max_batch_bytes)
        if name is None:
            return json_bytes(await make()), False
        asked = b"batch\n" + intake.digest.digest()
        return await service.repeats.once(key, name, asked, make)
    finally:
        if not kept:
            intake.drop()


def path_of(folder: Path, identity: str) -> Path:
    """Where the input of an unfinished batch lies."""
    return folder / FOLDER / f"{identity}.jsonl"


class _Intake:
    """A file that lines arrive in: under a temporary name until it is whole and durable."""

    def __init__(self, path: Path, most_lines: int) -> None:
        self.lines = 0
        self.bytes = 0
        self.digest = hashlib.sha256()
        self._path = path
        self._temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
        self._most_lines = most_lines
        self._content = False
        self._file: BinaryIO | None = None

    async def receive(self, receive: Receive, limit: int) -> None:
        """Everything that the client sends, in the time that so many bytes may take."""
        started = time.monotonic()
        while True:
            patience = bodies.BODY_SECONDS + self.bytes / SLOWEST
            try:
                async with asyncio.timeout(started + patience - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise TooSlow(patience) from None
            if message["type"] == "http.disconnect":
                raise Malformed("…")
            piece = message.get("body", b"")
            if self.bytes + len(piece) > limit:
                await bodies.discard(receive, limit)
                raise TooLarge(limit, "max_batch_bytes")
            await asyncio.to_thread(self._write, piece)
            if not message.get("more_body", False):
                break
        self.lines += self._content
        if not self.lines:
            raise Malformed(_("it is empty"))
        if self.lines > self._most_lines:
            raise TooManyLines(self._most_lines)

    def keep(self) -> None:
        """Gives the file its name, durably."""
        assert self._file is not None
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise disk_error(error, self._path) or error from error

    def drop(self) -> None:
        """Removes whatever there is of the file."""
        if self._file is not None:
            self._file.close()
        self._temporary.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _write(self, piece: bytes) -> None:
        try:
            if self._file is None:
                self._temporary.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                self._file = os.fdopen(handle, "wb")
            self._file.write(piece)
        except OSError as error:
            raise disk_error(error, self._path) or error from error
        self.digest.update(piece)
        self.bytes += len(piece)
        *ended, last = piece.split(b"\n")
        for part in ended:
            # A line may have come in several pieces; one without content does not count.
            self.lines += bool(part.strip()) or self._content
            self._content = False
        self._content = self._content or bool(last.strip())
        if self.lines > self._most_lines:
            raise TooManyLines(self._most_lines)
