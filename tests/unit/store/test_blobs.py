"""Blobs: named by their content, refused when a single bit is not what it was."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from feilun.store.blobs import BlobMissing, Blobs, DamagedBlob, sha256_of

CONTENT = random.Random(3).randbytes(5000)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def test_bytes_and_files_get_the_same_name(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    digest = blobs.put(CONTENT)
    assert blobs.put(tmp_path / "x") == digest == sha256_of(CONTENT)
    assert blobs.get(digest).read_bytes() == CONTENT
    assert list(blobs.digests()) == [digest]
    assert blobs.path(digest) == blobs.folder / digest[:2] / digest


def test_every_flipped_bit_and_every_cut_is_detected(blobs: Blobs) -> None:
    digest = blobs.put(CONTENT)
    path = blobs.path(digest)
    choose = random.Random(4)
    damaged = [CONTENT[:length] for length in (0, 1, 4096, len(CONTENT) - 1)]
    damaged += [CONTENT + b"\0"]
    for _flip in range(200):
        at, bit = choose.randrange(len(CONTENT)), choose.randrange(8)
        damaged.append(CONTENT[:at] + bytes([CONTENT[at] ^ 1 << bit]) + CONTENT[at + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(DamagedBlob, match="It is refused"):
            blobs.get(digest)
    path.write_bytes(CONTENT)
    assert blobs.get(digest) == path, "the control: the right bytes are taken"


def test_putting_again_heals_a_damaged_file(blobs: Blobs) -> None:
    digest = blobs.put(CONTENT)
    blobs.path(digest).write_bytes(b"damaged")
    assert blobs.put(CONTENT) == digest
    assert blobs.get(digest).read_bytes() == CONTENT


def test_putting_again_does_not_write_again(blobs: Blobs) -> None:
    path = blobs.get(blobs.put(CONTENT))
    before = path.stat().st_mtime_ns
    blobs.put(CONTENT)
    assert path.stat().st_mtime_ns == before


def test_a_missing_file_is_told(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing) as caught:
        blobs.get("0" * 64)
    assert caught.value.exit_code == 3
    assert list(blobs.digests()) == []


def test_files_left_half_written_are_not_listed(blobs: Blobs) -> None:
    digest = blobs.put(CONTENT)
    (blobs.path(digest).parent / ".part-abc").write_bytes(b"half")
    assert list(blobs.digests()) == [digest]


def test_unpacking_lays_files_out_and_checks_each(blobs: Blobs, tmp_path: Path) -> None:
    files = {"a.txt": blobs.put(b"a"), "sub/b.txt": blobs.put(b"b")}
    folder = blobs.unpack(files, tmp_path / "out")
    assert (folder / "sub" / "b.txt").read_bytes() == b"b"
    (folder / "a.txt").unlink()
    (folder / "a.txt").write_bytes(b"somebody else's")
    assert blobs.unpack(files, folder) == folder
    assert (folder / "a.txt").read_bytes() == b"a"
    assert blobs.path(files["a.txt"]).read_bytes() == b"a"
    blobs.path(files["a.txt"]).write_bytes(b"z")
    with pytest.raises(DamagedBlob):
        blobs.unpack(files, tmp_path / "other")


def test_unpacking_copies_where_links_cannot_be_made(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(18, "another device")

    monkeypatch.setattr("os.link", refuse)
    folder = blobs.unpack({"a": blobs.put(b"a")}, tmp_path / "out")
    assert (folder / "a").read_bytes() == b"a"
