"""One SQLite database: durable commits, one writer at a time across processes.

WAL with `synchronous=FULL`: a committed row survives a power cut. SQLite before 3.51.3 can
corrupt a WAL when two connections race a checkpoint against a write, so every write
transaction of every process holds one file lock, the checkpoint runs inside the commit, and
readers are opened read-only, which cannot checkpoint.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from feilun.core.errors import Damaged, DiskFull, NotWritable, disk_error
from feilun.core.i18n import _
from feilun.store.disk import Locked, lock

WAIT_SECONDS = 30.0
_WAL_BYTES = 16 << 20
FOLDER = Path(__file__).parent / "migrations"
_FULL = ("database or disk is full", "file too large")
_READ_ONLY = ("readonly database", "unable to open database")
_BROKEN = ("malformed", "not a database", "file is encrypted")
# What SQLite calls ENOSPC it reports as full; a file size limit or a quota it does not know.
_NO_ROOM = {"SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_SHMSIZE"}
log = logging.getLogger("feilun.store")


class DamagedDatabase(Damaged):
    """SQLite says the file is not a sound database."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            _("The database {path} is damaged ({reason}).").format(path=path, reason=reason),
            remedy=_("Restore {name} and {name}-wal from a backup.").format(name=path.name),
        )


class Database:
    """A database file and its migrations in `migrations/NAME`; made or upgraded on opening."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._thread_lock = threading.RLock()
        self._writer = self._engine(read_only=False)
        self._reader = self._engine(read_only=True)
        if self._version() != newest_version(name):
            self._migrate()

    def close(self) -> None:
        """Closes every connection of this process."""
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one consistent state and cannot write."""
        with self._clear_errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction, durable when the block has ended; rolled back if it raises."""
        with (
            self._thread_lock,
            lock(self._lock_path, what=self.path.name, wait_seconds=WAIT_SECONDS),
            self._clear_errors(),
            self._writer.begin() as connection,
        ):
            yield connection

    def settle(self, *, rewrite: bool = False) -> bool:
        """Moves everything into the database file and empties the write-ahead log; with
        `rewrite` the file is written anew first, so that nothing removed is left in it (that
        takes as long as the file is large, and writers wait). Whether the log could be emptied:
        not while somebody reads an older state of it for longer than `WAIT_SECONDS`."""
        with (
            self._thread_lock,
            lock(self._lock_path, what=self.path.name, wait_seconds=WAIT_SECONDS),
            self._clear_errors(),
        ):
            connection = self._writer.raw_connection()
            try:
                cursor = connection.cursor()
                if rewrite:
                    cursor.execute("VACUUM")
                row = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                cursor.close()
            finally:
                connection.close()
        return row is not None and int(row[0]) == 0

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _engine(self, *, read_only: bool) -> sa.Engine:
        def connect() -> sqlite3.Connection:
            mode = "ro" if read_only else "rwc"
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=WAIT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            if not read_only:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA foreign_keys=ON")
                # After a long read, during which it had to grow, it shrinks again.
                connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
                # What is removed is overwritten with zeros: retention and erasure mean it.
                connection.execute("PRAGMA secure_delete=ON")
            return connection

        pool: dict[str, Any] = {"pool_size": 8, "max_overflow": 8}
        if not read_only:
            # Every writer commits or rolls back itself; a second rollback is one more call in
            # which other threads may take the interpreter.
            pool = {"pool_size": 1, "pool_reset_on_return": None}
        engine = sa.create_engine(
            "sqlite://",
            creator=connect,
            poolclass=sa.QueuePool,
            **pool,
        )
        begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        sa.event.listen(engine, "begin", lambda connection: driver(connection).execute(begin))
        return engine

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            reason = str(error.orig if isinstance(error, sa.exc.DBAPIError) else error)
            if any(text in reason for text in _FULL):
                raise DiskFull(self.path) from error
            if any(text in reason for text in _READ_ONLY):
                raise NotWritable(self.path) from error
            if any(text in reason for text in _BROKEN):
                raise DamagedDatabase(self.path, reason) from error
            if "locked" in reason:
                raise Locked(self.path.name, "") from error
            code = getattr(getattr(error, "orig", error), "sqlite_errorname", "")
            if code in _NO_ROOM:
                raise DiskFull(self.path) from error
            if "disk I/O error" in reason:
                # An fsync may have failed: nothing this process holds can be trusted any more.
                log.critical("disk I/O error on %s: ending the process", self.path)
                os._exit(70)
            raise

    def _version(self) -> str | None:
        if not self.path.exists() or self.path.stat().st_size == 0:
            return None
        try:
            with self.read() as connection:
                row = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
                return str(row.scalar())
        except sa.exc.OperationalError:
            return None

    def _migrate(self) -> None:
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(FOLDER / self.name))
        script = ScriptDirectory.from_config(config)

        def upgrade(revision: Any, _context: Any) -> Any:
            return script._upgrade_revs("head", revision)

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, self.path) or error from error
        with EnvironmentContext(config, script, fn=upgrade) as environment, self.write() as writer:
            environment.configure(connection=writer, transactional_ddl=True)
            environment.run_migrations()


def driver(connection: sa.Connection) -> sqlite3.Connection:
    """The connection below SQLAlchemy's, in the same transaction: for what is done so often that
    the layer between would cost more than the database."""
    below = connection.connection.driver_connection
    assert isinstance(below, sqlite3.Connection)
    return below


def newest_version(name: str) -> str:
    """The newest migration's name: migrations are files `NNNN_what.py`, in order."""
    return max(path.stem for path in (FOLDER / name / "versions").glob("[0-9]*.py"))
