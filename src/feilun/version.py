"""The version of this package, and of the code that makes artifacts."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

__version__ = "0.1.0"

# Code outside these folders (pages, commands, routes) cannot change what a stage makes.
_MAKES_ARTIFACTS = ("core", "tasks", "models", "stages")


@cache
def code_version() -> str:
    """The version plus a digest of every source file that can change an artifact."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for folder in _MAKES_ARTIFACTS:
        for path in sorted((package / folder).rglob("*")):
            if path.suffix in {".py", ".c"}:
                digest.update(str(path.relative_to(package)).encode())
                digest.update(path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"
