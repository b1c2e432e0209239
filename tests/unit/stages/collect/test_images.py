"""The source `images`, and what its headers say."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import vl_convert
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.errors import NotReadable
from feilun.core.part import find
from feilun.core.records import conform
from feilun.stages.collect.images import Images, NoImages, Shape, shape_of
from feilun.stages.collect.reading import FileMissing
from feilun.stages.collect.source import Quarantine

CHART: dict[str, Any] = {
    "width": 60, "height": 40, "mark": "bar", "data": {"values": [{"a": 1}]},
    "encoding": {"x": {"field": "a", "type": "quantitative", "axis": None}},
}  # fmt: skip
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
LOSSY = base64.b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
LOSSLESS = base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
EXTENDED = base64.b64decode(
    "UklGRkoAAABXRUJQVlA4WAoAAAAQAAAAAAAAAAAAQUxQSAwAAAARBxAR/Q9ERP8DAABWUDggGAAAABQBAJ0BKgEAAQAA"
    "AP4AAA3AAP7mtQAAAA=="
)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\x00" * 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(
        b"IEND", b""
    )  # fmt: skip


def bmp(width: int, height: int, *, old: bool = False) -> bytes:
    header = (
        struct.pack("<IHHHH", 12, width, height, 1, 24)
        if old
        else struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    at = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", at + 4, 0, 0, at) + header + b"\x00" * 4


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (png(640, 480), ("png", 640, 480)),
        (GIF, ("gif", 1, 1)),
        (GIF[:-1], ("gif", 1, 1)),  # without a trailer, as some tools write it
        (LOSSY, ("webp", 1, 1)),
        (LOSSLESS, ("webp", 1, 1)),
        (EXTENDED, ("webp", 1, 1)),
        (bmp(3, 2), ("bmp", 3, 2)),
        (bmp(3, -2), ("bmp", 3, 2)),
        (bmp(3, 2, old=True), ("bmp", 3, 2)),
    ],
)
def test_format_and_size_are_read_from_the_header(content: bytes, shape: tuple[str, int]) -> None:
    assert shape_of(content) == shape


def test_images_that_a_real_encoder_made() -> None:
    made_png, made_jpeg = vl_convert.vegalite_to_png(CHART), vl_convert.vegalite_to_jpeg(CHART)
    width, height = struct.unpack_from(">II", made_png, 16)
    assert shape_of(made_png) == Shape("png", width, height)
    assert shape_of(made_jpeg) == Shape("jpeg", width, height)


@pytest.mark.parametrize("content", [png(9, 9), vl_convert.vegalite_to_jpeg(CHART), GIF[:-1], LOSSY,
                                     EXTENDED, bmp(2, 2)])  # fmt: skip
def test_an_image_that_stops_early_is_none(content: bytes) -> None:
    for cut in {0, 1, 2, 7, 12, len(content) // 2, len(content) - 4}:
        assert shape_of(content[:cut]) is None, cut


@pytest.mark.parametrize(
    "content",
    [
        b"", b"not an image", b"%PDF-1.7", png(0, 5), png(5, 5)[:29] + b"\x00" * 4 + png(5, 5)[33:],
        b"GIF87b" + GIF[6:], b"GIF89a" + b"\x01\x00\x01\x00\x00\x00\x00" + b";",
        b"RIFF\x04\x00\x00\x00WAVE", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xda\x00\x00\xff\xd9",
        b"BM" + b"\x00" * 60,
    ],
)  # fmt: skip
def test_what_is_no_image_has_no_shape(content: bytes) -> None:
    assert shape_of(content) is None


@settings(deadline=None)
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF", b"BM", GIF,
                     LOSSY, png(2, 2), bmp(1, 1)]),
    st.binary(max_size=60),
)  # fmt: skip
def test_any_bytes_have_a_shape_or_none(start: bytes, rest: bytes) -> None:
    found = shape_of(start + rest)
    assert found is None or (found.width > 0 and found.height > 0)


def filled(folder: Path) -> Path:
    for name, content in {
        "photos/cats/1.png": png(4, 3),
        "photos/cats/2.JPG": vl_convert.vegalite_to_jpeg(CHART),
        "photos/cats/broken.png": png(4, 3)[:40],
        "photos/cats/notes.txt": b"no image",
        "photos/dogs/old/a.gif": GIF,
        "photos/loose.webp": LOSSY,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def collected(source: Images, root: Path, quarantine: Quarantine) -> dict[str, list[Any]]:
    return {
        piece.name: conform(pl.concat(piece.frames(quarantine))).to_dicts()
        for piece in source.pieces(root, None)
    }


def test_the_folder_is_the_label_and_the_facts_are_fields(tmp_path: Path) -> None:
    quarantine = Quarantine()
    source = Images(path="photos")
    found = collected(source, filled(tmp_path), quarantine)
    assert list(found) == ["photos", "photos/cats", "photos/dogs/old"]
    assert [record["label"] for record in found["photos/cats"]] == ["cats", "cats"]
    assert [record["row"] for record in found["photos/cats"]] == [1, 2]
    assert found["photos"][0]["label"] is None
    assert found["photos/dogs/old"][0]["label"] == "old"
    first = found["photos/cats"][0]
    content = (tmp_path / "photos/cats/1.png").read_bytes()
    assert first["text"] is None
    assert json.loads(first["fields"]) == {
        "image": {
            "path": "photos/cats/1.png", "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content), "format": "png", "width": 4, "height": 3,
        }
    }  # fmt: skip
    (bad,) = quarantine.shown
    assert (bad.source, bad.row, bad.reason, bad.excerpt) == (
        "photos/cats", 3, "not_an_image", "broken.png",
    )  # fmt: skip


def test_images_beyond_the_limits_are_quarantined(tmp_path: Path) -> None:
    filled(tmp_path)
    quarantine = Quarantine()
    found = collected(Images(path="photos/cats", most_bytes=100), tmp_path, quarantine)
    assert [record["row"] for record in found["photos/cats"]] == [1]
    assert quarantine.counts == {"image_too_large": 1, "not_an_image": 1}
    quarantine = Quarantine()
    collected(Images(path="photos/cats", most_pixels=11), tmp_path, quarantine)
    assert quarantine.counts["image_too_large"] == 2


def test_a_piece_changes_when_an_image_does_and_only_then(tmp_path: Path) -> None:
    filled(tmp_path)
    source = Images(path="photos")

    def identities() -> dict[str, str]:
        return {piece.name: piece.identity for piece in source.pieces(tmp_path, None)}

    before, whole = identities(), source.identity(tmp_path)
    assert identities() == before
    (tmp_path / "photos/cats/1.png").write_bytes(png(9, 9))
    after = identities()
    assert {name for name in before if before[name] != after[name]} == {"photos/cats"}
    assert source.identity(tmp_path) != whole


def test_one_file_is_a_source_too(tmp_path: Path) -> None:
    filled(tmp_path)
    found = collected(Images(path="photos/loose.webp"), tmp_path, Quarantine())
    (record,) = found["photos/loose.webp"]
    assert (record["label"], json.loads(record["fields"])["image"]["path"]) == (
        None, "photos/loose.webp",
    )  # fmt: skip


def test_a_folder_that_is_not_there_or_has_no_images_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileMissing):
        list(Images(path="nowhere").pieces(tmp_path, None))
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoImages, match="empty holds no images") as caught:
        list(Images(path="empty").pieces(tmp_path, None))
    assert ".webp" in (caught.value.remedy or "")
    filled(tmp_path)

    def denied(_path: Path, *_more: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(NotReadable):
        list(Images(path="photos").pieces(tmp_path, None))


def test_the_part_is_found_by_its_name() -> None:
    assert find("source", "images") is Images
