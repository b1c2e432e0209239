"""Near-duplicates of more texts than memory holds: signed shard by shard, clustered from files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from feilun.core.similarity import linking, native
from feilun.core.similarity.clusters import bands_for
from feilun.core.text import Texts

_MAGIC = 0x4644_4F01
_PIECE = 2**16  # rows that are read at once


class _Header(NamedTuple):
    """The first eight numbers of a file (int64): behind them lie, of each row, starts (int64,
    one more than rows), hashes (uint64), digests (two uint64), keys (uint32, band by band), and
    the texts' bytes."""

    magic: int
    rows: int
    bands: int
    rows_per_band: int
    content: int
    spare_1: int = 0
    spare_2: int = 0
    spare_3: int = 0

    @property
    def starts_at(self) -> int:
        return len(self) * 8

    @property
    def hashes_at(self) -> int:
        return self.starts_at + (self.rows + 1) * 8

    @property
    def digests_at(self) -> int:
        return self.hashes_at + self.rows * 8

    @property
    def keys_at(self) -> int:
        return self.digests_at + self.rows * 16

    @property
    def content_at(self) -> int:
        return self.keys_at + self.rows * self.bands * 4

    @property
    def size(self) -> int:
        return self.content_at + self.content


def sign_shard(keys: Texts, folder: Path, number: int, threshold: float) -> None:
    """Writes to `folder` what `cluster_shards` needs of the texts `keys`, as the shard `number`; a
    worker can have memory for about 131,072 of them.

    The file is about 120 bytes a row (at 0.7) and the texts. It appears whole or not at all; one
    that is there and fits (rows, bytes, bands) is left as it is, so a killed run goes on. It is
    not synced to the disk: it is scratch, for the same run of the machine.
    """
    bands = bands_for(threshold)
    header = _Header(_MAGIC, keys.num, bands.num, bands.rows, len(keys.content))
    path = _path(folder, number)
    if _finished(path) == header:
        return
    signed = native.sign(keys, bands, num_threads=1)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            for array in (np.array(header, dtype=np.int64), keys.starts, *signed, keys.content):
                array.tofile(file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def cluster_shards(
    folder: Path, num_shards: int, threshold: float, *, num_threads: int | None = None
) -> np.ndarray:
    """The first row (uint32) of each row's cluster, over the shards 0 … `num_shards` - 1 in their
    order: what `near_duplicates` says of all their texts at once.

    Memory: 40 bytes a row, 70 MB a thread, and up to 100 bytes per character of two texts that
    are compared; texts are read back from their files, one by one. One file is open per shard.
    Raises FileNotFoundError for a shard that is not there, ValueError for one that was signed for
    another threshold.
    """
    bands = bands_for(threshold)
    with ExitStack() as opened:
        shards = [_Shard(folder, number, bands, opened) for number in range(num_shards)]
        firsts = np.cumsum([0, *(shard.header.rows for shard in shards)], dtype=np.int64)
        num = int(firsts[-1])
        starts, hashes = np.zeros(num + 1, dtype=np.int64), np.empty(num, dtype=np.uint64)
        digests, shifts = np.empty((num, 2), dtype=np.uint64), np.zeros(num_shards, dtype=np.int64)
        for at, shard in enumerate(shards):
            header, first, last = shard.header, int(firsts[at]), int(firsts[at + 1])
            shifts[at] = header.content_at - starts[first]
            own = starts[first : last + 1]
            behind = int(own[0])
            shard.read(own, header.starts_at)
            own += behind
            shard.read(hashes[first:last], header.hashes_at)
            shard.read(digests[first:last], header.digests_at)

        def keys(band: int) -> Iterator[tuple[int, np.ndarray]]:
            for first, shard in zip(firsts.tolist(), shards, strict=False):
                for at in range(0, shard.header.rows, _PIECE):
                    held = np.empty(min(_PIECE, shard.header.rows - at), dtype=np.uint32)
                    shard.read(held, shard.header.keys_at + (band * shard.header.rows + at) * 4)
                    yield first + at, held

        files = np.array([shard.file for shard in shards], dtype=np.int64)
        return linking.linked(
            native.Stored(starts, files, firsts[:-1], shifts), hashes, digests, keys, bands.num,
            threshold=threshold, num_threads=num_threads,
        )  # fmt: skip


def remove_shards(folder: Path) -> None:
    """Deletes the shards in `folder`, finished or not, and the folder if it is empty then."""
    for path in [*folder.glob("*.near"), *folder.glob(".*.near.*")]:
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class _Shard:
    """One open file."""

    def __init__(self, folder: Path, number: int, bands: native.Bands, opened: ExitStack) -> None:
        path = _path(folder, number)
        self.file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        opened.callback(os.close, self.file)
        header = _header_of(self.file)
        if header is None or (header.bands, header.rows_per_band) != bands:
            raise ValueError(f"{path} was not signed for these {bands}")
        self.header = header
        if hasattr(os, "posix_fadvise"):
            # In order, before: text by text from a cold disk ten million took 62 s instead of 32.
            os.posix_fadvise(self.file, 0, header.size, os.POSIX_FADV_WILLNEED)

    def read(self, into: np.ndarray, at: int) -> None:
        """Fills `into` with the bytes from `at` on."""
        view = into.view(np.uint8).reshape(-1).data
        while view:
            more = os.preadv(self.file, [view], at)
            if more <= 0:
                raise OSError("a shard is shorter than it says")
            view, at = view[more:], at + more


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.near"


def _finished(path: Path) -> _Header | None:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return _header_of(file)
    finally:
        os.close(file)


def _header_of(file: int) -> _Header | None:
    """The header, if the file is what it says."""
    content = os.pread(file, len(_Header._fields) * 8, 0)
    if len(content) < len(_Header._fields) * 8:
        return None
    header = _Header(*np.frombuffer(content, dtype=np.int64).tolist())
    whole = header.magic == _MAGIC and os.fstat(file).st_size == header.size
    return header if whole else None
