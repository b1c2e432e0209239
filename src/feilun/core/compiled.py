"""Compiled kernels: shared libraries without a Python ABI, called through ctypes.

The build hook (`hatch_build.py`) makes `NAME.so` beside each `NAME.c`. ctypes releases the GIL
for the length of a call.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from feilun.core.errors import Missing
from feilun.core.i18n import _

_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")


class KernelsMissing(Missing):
    """A compiled library is not beside its Python half, or is another platform's."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(
            _("The compiled kernels cannot be loaded from {path}: {reason}.").format(
                path=path, reason=reason
            ),
            remedy="pip install --force-reinstall --no-deps feilun",
        )


def library_path(beside: str, name: str) -> Path:
    """Where the library `name` is: in the folder of the Python file `beside`."""
    return Path(beside).with_name(name + _SUFFIX)


def load_library(
    path: Path,
    arguments: Mapping[str, Sequence[Any]],
    answers: Collection[str],
    *,
    brief: bool = False,
) -> ctypes.CDLL:
    """The library with the types of its functions set: `arguments` of each, and a 64-bit result
    for those in `answers`, none for the others; `brief` calls keep the GIL. Raises
    `KernelsMissing`."""
    try:
        library = (ctypes.PyDLL if brief else ctypes.CDLL)(str(path))
        for name, types in arguments.items():
            function = getattr(library, name)
            function.argtypes = types
            function.restype = ctypes.c_int64 if name in answers else None
    except (OSError, AttributeError) as error:
        raise KernelsMissing(path, error) from None
    return library


def usable_cores() -> int:
    """How many cores this process may use: its affinity, not the machine's count."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        return os.cpu_count() or 1
