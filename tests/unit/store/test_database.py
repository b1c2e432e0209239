"""The databases: made from nothing, one writer at a time, no row lost, damage told."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from feilun.core.errors import FeilunError
from feilun.store import database
from feilun.store.database import DamagedDatabase, Database, newest_version
from feilun.store.disk import Locked, lock

INSERT = "INSERT INTO failures (at, route, status, code) VALUES (0, '/', 500, 'x')"


def count(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM failures").fetchone()[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.mark.parametrize("name", ["control", "events"])
def test_a_database_is_made_from_nothing_and_opened_again(name: str, tmp_path: Path) -> None:
    for _time in range(2):
        opened = Database(tmp_path / "deep" / "x.db", name)
        with opened.read() as connection:
            version = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        assert version == newest_version(name)
        opened.close()


def test_commits_are_durable_and_readers_cannot_write(path: Path) -> None:
    opened = Database(path, "events")
    with (
        opened.read() as connection,
        pytest.raises(sa.exc.OperationalError, match="readonly"),
    ):
        connection.execute(sa.text(INSERT))
    with opened.write() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
    opened.close()


def test_a_failed_block_writes_nothing(path: Path) -> None:
    opened = Database(path, "events")

    def fail() -> None:
        with opened.write() as connection:
            connection.execute(sa.text(INSERT))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    opened.close()
    assert count(path) == 0


WRITE = """
import sys
from pathlib import Path
import sqlalchemy as sa
from feilun.store.database import Database
database = Database(Path(sys.argv[1]), "events")
for _number in range(60):
    with database.write() as connection:
        connection.execute(sa.text(sys.argv[2]))
"""


def test_two_processes_writing_at_once_lose_no_row(path: Path) -> None:
    """They also race for the making of the database."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(path), INSERT]) for _writer in range(2)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert count(path) == 120


def test_a_process_killed_while_it_makes_the_database_leaves_it_makeable(path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "import alembic.op as op\n"
        "from feilun.store.database import Database\n"
        "real, made = op.create_table, []\n"
        "def create(*a, **k):\n"
        "    made.append(a[0])\n"
        "    if len(made) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*a, **k)\n"
        "op.create_table = create\n"
        "Database(Path(sys.argv[1]), 'events')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    opened = Database(path, "events")
    with opened.write() as connection:
        connection.execute(sa.text(INSERT))
    opened.close()
    assert count(path) == 1


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" * 300])
def test_a_damaged_file_is_told(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedDatabase) as caught:
        Database(path, "events").close()
    assert caught.value.remedy
    assert path.read_bytes() == content, "what is damaged is left for whoever mends it"


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    Database(path, "events").close()
    assert count(path) == 0


def test_a_second_writer_is_told_who_holds_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Database(path, "events")
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.05)
    with (
        lock(path.with_name("events.db.lock"), what="x"),
        pytest.raises(Locked, match=f"pid {os.getpid()}"),
        opened.write(),
    ):
        pytest.fail("two writers")
    opened.close()


def _sqlite_error(text: str, name: str) -> sa.exc.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = name
    return sa.exc.OperationalError("INSERT", {}, error)


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("database or disk is full", "SQLITE_FULL", "disk_full"),
        ("disk I/O error", "SQLITE_IOERR_WRITE", "disk_full"),
        ("disk I/O error", "SQLITE_IOERR_SHMSIZE", "disk_full"),
        ("attempt to write a readonly database", "SQLITE_READONLY", "not_writable"),
        ("unable to open database file", "SQLITE_CANTOPEN", "not_writable"),
        ("database disk image is malformed", "SQLITE_CORRUPT", "damaged_database"),
        ("database is locked", "SQLITE_BUSY", "locked"),
    ],
)
def test_what_sqlite_says_is_told_clearly(text: str, name: str, wanted: str, path: Path) -> None:
    opened = Database(path, "events")
    with pytest.raises(FeilunError) as caught, opened.read():
        raise _sqlite_error(text, name)
    assert caught.value.code == wanted
    opened.close()


def test_an_fsync_that_failed_ends_the_process(path: Path) -> None:
    code = (
        "import sqlite3, sys; from pathlib import Path\n"
        "from feilun.store.database import Database\n"
        "database = Database(Path(sys.argv[1]), 'events')\n"
        "error = sqlite3.OperationalError('disk I/O error')\n"
        "error.sqlite_errorname = 'SQLITE_IOERR_FSYNC'\n"
        "with database.write(): raise error\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 70
    assert "ending the process" in run.stderr


def test_a_file_size_limit_is_a_full_disk_and_loses_nothing(path: Path) -> None:
    Database(path, "events").close()
    code = (
        "import resource, sys; from pathlib import Path\n"
        "import sqlalchemy as sa\n"
        "from feilun.core.errors import DiskFull\n"
        "from feilun.store.database import Database\n"
        "database = Database(Path(sys.argv[1]), 'events')\n"
        "with database.write() as c: c.execute(sa.text(sys.argv[2]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    for _n in range(100):\n"
        "        with database.write() as c:\n"
        "            c.execute(sa.text(sys.argv[2].replace(\"'x'\", repr('x' * 4000))))\n"
        "except DiskFull: print('full', _n)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path), INSERT], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    said, committed = run.stdout.split()
    assert said == "full"
    assert count(path) == 1 + int(committed)
    opened = Database(path, "events")
    with opened.write() as connection:
        connection.execute(sa.text(INSERT))
    opened.close()


def test_the_file_is_made_where_it_is_asked_for(tmp_path: Path) -> None:
    odd = tmp_path / "a b%20#?评论"
    Database(odd / "events.db", "events").close()
    assert (odd / "events.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == [odd.name]
