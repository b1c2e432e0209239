"""The wheel of what runs here: complete, and as its own list says."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from pathlib import Path

import feilun
from feilun.version import __version__
from feilun.wheel.packaging.distribution import write_wheel


def test_the_wheel_has_every_file_with_its_hash(tmp_path: Path) -> None:
    path = write_wheel(tmp_path)
    with zipfile.ZipFile(path) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    package = Path(feilun.__file__).parent
    for name in ("version.py", "locale/zh_CN/LC_MESSAGES/feilun.mo", "console/static/style.css"):
        if (package / name).exists():
            assert files[f"feilun/{name}"] == (package / name).read_bytes()
    assert any(name.endswith((".so", ".dylib")) for name in files)
    assert not any("__pycache__" in name for name in files)
    about = f"feilun-{__version__}.dist-info"
    assert b"feilun.parts" in files[f"{about}/entry_points.txt"]
    tag = path.stem.split("-", 2)[2]
    assert f"Tag: {tag}\n".encode() in files[f"{about}/WHEEL"]
    listed = {row[0]: row[1:] for row in csv.reader(io.StringIO(files[f"{about}/RECORD"].decode()))}
    assert set(listed) == set(files)
    for name, content in files.items():
        if name != f"{about}/RECORD":
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            assert listed[name] == [f"sha256={digest.rstrip('=')}", str(len(content))]


def test_the_same_code_gives_the_same_wheel(tmp_path: Path) -> None:
    first, second = write_wheel(tmp_path / "a"), write_wheel(tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
