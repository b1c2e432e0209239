"""Files appear whole or not at all; a lock has one holder and dies with it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from feilun.core.errors import DiskFull, FeilunError, NotWritable
from feilun.store import disk
from feilun.store.disk import Locked, is_locked, lock, write_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_files_are_written_whole_under_their_name(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b", b"one", mode=0o600)
    write_file(tmp_path / "a" / "c", tmp_path / "a" / "b")
    assert (tmp_path / "a" / "c").read_bytes() == b"one"
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o600
    write_file(tmp_path / "a" / "b", b"two")
    assert (tmp_path / "a" / "b").read_bytes() == b"two"
    assert names(tmp_path / "a") == ["b", "c"]


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, NotWritable),
        (errno.EIO, OSError),
    ],
)
def test_a_failure_leaves_the_old_file_and_no_temporary_one(
    call: str,
    number: int,
    wanted: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def fail(*_arguments: object, **_named: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "replace" else disk.os, call, fail)
        with pytest.raises(wanted):
            write_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_an_fsync_that_failed_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(handle: int) -> None:
        calls.append(handle)
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(disk.os, "fsync", fail)
    with pytest.raises(OSError, match="I/O error"):
        write_file(tmp_path / "a", b"x")
    assert len(calls) == 1


def test_an_interrupted_write_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(disk.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a", b"x")
    assert names(tmp_path) == []


def test_a_read_only_disk_is_told_even_where_cleaning_up_fails_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a read-only file system the kernel refuses to unlink even what is not there."""

    def refuse(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(disk.os, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(NotWritable, match=r"/a cannot be written"):
        write_file(tmp_path / "a", b"x")


def test_a_file_that_outgrows_its_limit_is_a_full_disk(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from feilun.core.errors import DiskFull; from feilun.store.disk import write_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_file(Path(sys.argv[1]) / 'small', b'x' * 999)\n"
        "try: write_file(Path(sys.argv[1]) / 'big', b'x' * 100_000)\n"
        "except DiskFull as error: print(error.remedy)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "Free some space" in run.stdout
    assert names(tmp_path) == ["small"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


HOLD = """
import sys, time
from pathlib import Path
from feilun.store.disk import lock
with lock(Path(sys.argv[1]), what="it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_has_one_holder_among_processes_and_is_freed_by_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(path)
        with (
            pytest.raises(Locked, match=f"it is in use by another process .pid {holder.pid}"),
            lock(path, what="it", wait_seconds=0.05),
        ):
            pytest.fail("two holders")
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with lock(path, what="it", wait_seconds=5):
        assert path.read_text().strip() == f"pid {os.getpid()}"
    assert not is_locked(path)


def test_a_lock_excludes_threads_too_and_a_waiter_gets_it(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _again in range(20):
            with lock(tmp_path / "x.lock", what="it", wait_seconds=20):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_lock_is_freed_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), lock(tmp_path / "x.lock", what="it"):
        raise ValueError("no")
    assert not is_locked(tmp_path / "x.lock")
    assert not is_locked(tmp_path / "never.lock")


def test_a_full_disk_does_not_cost_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(disk.os, "pwrite", full)
    with lock(tmp_path / "x.lock", what="it"):
        assert is_locked(tmp_path / "x.lock")


def test_a_lock_that_cannot_be_made_is_told_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(disk.os, "open", refuse)
    with pytest.raises(FeilunError, match="cannot be written"), lock(tmp_path / "x", what="it"):
        pytest.fail("held")
