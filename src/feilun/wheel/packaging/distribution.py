"""The Feilun that runs here, as a wheel: the other machine runs the very same code."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import sysconfig
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from feilun.version import __version__

_FIXED = (1980, 1, 1, 0, 0, 0)
_COMPILED = {".so", ".dylib", ".dll"}
_LEFT_OUT = {".pyc", ".pyo"}


def write_wheel(folder: Path) -> Path:
    """Writes Feilun as it is installed, compiled kernels and catalogues with it, into a wheel
    (PEP 427) in `folder`; its path. It is for this kind of machine: the same system and processor,
    and any Python 3 that Feilun runs on."""
    package = Path(__file__).resolve().parents[2]
    paths = [path for path in sorted(package.rglob("*")) if _is_ours(path)]
    compiled = any(path.suffix in _COMPILED for path in paths)
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = f"py3-none-{platform if compiled else 'any'}"
    files = {f"feilun/{path.relative_to(package).as_posix()}": path.read_bytes() for path in paths}
    about = f"feilun-{__version__}.dist-info"
    installed = distribution("feilun")
    for name in ("METADATA", "entry_points.txt"):
        files[f"{about}/{name}"] = (installed.read_text(name) or "").encode()
    licence = installed.read_text("licenses/LICENSE")
    if licence is not None:
        files[f"{about}/licenses/LICENSE"] = licence.encode()
    pure = str(not compiled).lower()
    head = f"Wheel-Version: 1.0\nGenerator: feilun {__version__}\nRoot-Is-Purelib: {pure}\n"
    files[f"{about}/WHEEL"] = f"{head}Tag: {tag}\n".encode()
    files[f"{about}/RECORD"] = _record(files, f"{about}/RECORD")
    path = folder / f"feilun-{__version__}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _FIXED)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, content)
    return path


def _is_ours(path: Path) -> bool:
    return path.is_file() and path.suffix not in _LEFT_OUT


def _record(files: dict[str, bytes], own: str) -> bytes:
    """The list of the files with their sizes and hashes, as PEP 376 has it."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        lines.writerow((name, f"sha256={digest}", len(content)))
    lines.writerow((own, "", ""))
    return written.getvalue().encode()
