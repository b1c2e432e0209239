"""Durable files and locks between processes: the one place that talks to the file system.

A file appears under its name whole or not at all: it is written under a temporary name in the
same folder, fsynced, renamed, and the folder is fsynced. A failed fsync is never retried: the
kernel may have dropped the pages it could not write (PostgreSQL's lesson of 2018), so what
the process believes is on disk can no longer be trusted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from feilun.core.errors import Busy, disk_error
from feilun.core.i18n import _

TEMPORARY = ".part-"
_HOLDER_BYTES = 20


def write_file(path: Path, content: bytes | Path, mode: int = 0o644) -> None:
    """Writes bytes (or a copy of the file at a path) durably; raises `DiskFull`, `NotWritable`."""
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as target:
            if isinstance(content, bytes):
                target.write(content)
            else:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        # On a read-only file system even the removal of what is not there fails.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        clear = disk_error(error, path) if isinstance(error, OSError) else None
        raise clear or error from error


def sync_folder(folder: Path) -> None:
    """Makes renames and new names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Makes every file below `folder`, written by others, durable."""
    for path in sorted(folder.rglob("*")):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    sync_folder(folder)


class Locked(Busy):
    """Another process holds the lock."""

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(
            _("{what} is in use by another process ({holder}); one writer at a time.").format(
                what=what, holder=holder or "?"
            ),
            remedy=_("Wait for it to end, or stop it, then run the same command again."),
        )


@contextmanager
def lock(path: Path, *, what: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds the file lock at `path` within the block; the system frees it if we are killed.

    Waits up to `wait_seconds`, then raises `Locked` with the holder's process id.
    """
    try:
        handle = _opened(path)
    except OSError as error:
        raise disk_error(error, path) or error from error
    try:
        _acquire(handle, what, time.monotonic() + wait_seconds)
        holder = f"pid {os.getpid()}".ljust(_HOLDER_BYTES).encode()
        try:
            # Of one length, and only where it changed: a file that is made empty and written is
            # flushed by ext4 when it is closed, which took a third of every commit.
            if os.pread(handle, 64, 0) != holder:
                os.pwrite(handle, holder, 0)
        except OSError as error:
            # The name of the holder is a courtesy; a full disk must not cost the lock.
            if disk_error(error, path) is None:
                raise
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, how, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, how, 0o644)


def _acquire(handle: int, what: str, deadline: float) -> None:
    pause = 0.001
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
        if time.monotonic() >= deadline:
            raise Locked(what, os.pread(handle, 64, 0).decode(errors="replace").strip())
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock at `path` now."""
    if not path.exists():
        return False
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(handle)
