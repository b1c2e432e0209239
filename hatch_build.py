"""Before a wheel (or an editable install): compile the C kernels and the message catalogues."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path(__file__).parent / "src" / "feilun"
SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")


def compile_kernels(*, always: bool = True) -> None:
    """One shared library beside each `kernels.c`, loaded through ctypes: no Python ABI in it.

    `-ffp-contract=off` keeps the arithmetic the same on every machine; no `-march=native`, so
    that a wheel runs anywhere.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    for source in PACKAGE.rglob("*.c"):
        target = source.with_suffix(SUFFIX)
        headers = source.parent.glob("*.h")
        if not always and all(_is_newer(target, one) for one in (source, *headers)):
            continue
        flags = ["-O3", "-std=c99", "-fPIC", "-shared", "-ffp-contract=off", "-Wall", "-Wextra"]
        subprocess.run([*compiler, *flags, "-o", str(target), str(source), "-lm"], check=True)


def _is_newer(target: Path, source: Path) -> bool:
    return target.exists() and target.stat().st_mtime >= source.stat().st_mtime


def compile_messages() -> None:
    """`feilun.mo` beside each `feilun.po`."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    for source in PACKAGE.rglob("*.po"):
        with source.open("rb") as po:
            catalogue = read_po(po, locale=source.parent.parent.name)
        with source.with_suffix(".mo").open("wb") as mo:
            write_mo(mo, catalogue)


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling for wheels and editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles, and marks the wheel as one platform's, of any Python 3."""
        compile_kernels()
        compile_messages()
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"


if __name__ == "__main__":
    compile_kernels(always=False)
    compile_messages()
