"""Packed files give what was packed; bombs end at once, in an error that says so."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest
import zstandard

from feilun.stages.collect.reading import UnpacksTooLarge, UnreadableFile, unpacking
from feilun.stages.collect.reading.unpacking import BLOCK, blocks

TEXT = "text,label\n很好,x\n".encode() * 300_000


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compress(data)


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".zst", zst)])
def test_what_was_packed_comes_out(ending: str, pack: object, tmp_path: Path) -> None:
    assert callable(pack)
    half = len(TEXT) // 2
    for content in (pack(TEXT), pack(TEXT[:half]) + pack(TEXT[half:])):
        found = list(blocks(write(tmp_path, "a.csv" + ending, content), 1 << 40))
        assert b"".join(found) == TEXT
        assert max(map(len, found)) < 2 * BLOCK


def test_zeros_may_pad_a_gzip_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.gz", gzip.compress(b"x") + b"\0" * 600_000)
    assert b"".join(blocks(path, 1 << 20)) == b"x"


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".zst", zst)])
@pytest.mark.parametrize("damage", ["cut off", "flipped", "garbage", "text behind"])
def test_a_damaged_file_is_told(ending: str, pack: object, damage: str, tmp_path: Path) -> None:
    assert callable(pack)
    content = pack(b"".join(b"%d\n" % (number**7) for number in range(3000)))
    bad = {
        "cut off": content[:-20],
        "flipped": content[:2000] + bytes([content[2000] ^ 255]) + content[2001:],
        "garbage": b"no archive at all",
        "text behind": content + b"and more",
    }[damage]
    path = write(tmp_path, "a.csv" + ending, bad)
    with pytest.raises(UnreadableFile, match="cannot be read as"):
        list(blocks(path, 1 << 30))


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.gz", "a.csv.zst"):
        assert list(blocks(write(tmp_path, name, b""), 1 << 20)) == []


def test_more_than_may_be_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv.gz", gzip.compress(TEXT))
    with pytest.raises(UnpacksTooLarge, match="the limit is 1,048,576 bytes") as caught:
        list(blocks(path, 1 << 20))
    assert "most_unpacked" in (caught.value.remedy or "")


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_bomb_ends_early(packing: str, tmp_path: Path) -> None:
    chunk = b"a,b\n" * (1 << 20)
    if packing == "gz":
        pack = zlib.compressobj(9, wbits=31)
    else:
        pack = zstandard.ZstdCompressor().compressobj()
    content = b"".join([pack.compress(chunk) for _ in range(64)]) + pack.flush()
    path = write(tmp_path, f"a.csv.{packing}", content)
    out = 0
    with pytest.raises(UnpacksTooLarge, match="250 times its own size") as caught:  # noqa: PT012
        for block in blocks(path, 1 << 40):
            out += len(block)
    assert out <= 96 << 20 < 64 * len(chunk)
    assert f"{packing}" in path.name
    assert "unpack it yourself" in (caught.value.remedy or "")


def test_a_step_of_zstd_is_small_enough() -> None:
    """The most that a step of input can become, by the format: 128 KiB of every 4 bytes."""
    assert unpacking._ZSTD_STEP // 4 * (128 << 10) <= 32 << 20
