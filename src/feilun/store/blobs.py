"""Files named by the sha256 of their content: `blobs/ab/<sha256>`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from feilun.core.errors import Damaged, Missing
from feilun.core.i18n import _
from feilun.store.disk import TEMPORARY, sync_folder, write_file

_ERASED = ".erased"


class BlobMissing(Missing):
    """A stored file is no longer there."""

    def __init__(self, digest: str) -> None:
        super().__init__(
            _("The stored file {digest} is gone from blobs/.").format(digest=digest[:12]),
            remedy=_("Restore blobs/ from a backup, or make it again: feilun reproduce REF"),
        )


class DamagedBlob(Damaged):
    """A stored file's bytes no longer have the digest that names it."""

    def __init__(self, digest: str, path: Path, found: str) -> None:
        super().__init__(
            _(
                "The stored file {path} is damaged: its bytes have the digest {found}, not "
                "{digest}. It is refused."
            ).format(path=path, found=found[:12], digest=digest[:12]),
            remedy=_("Restore it from a backup, or delete it and run: feilun turn"),
        )


class ErasedBlob(Missing):
    """A stored file was taken away whole, because it held what had to be erased."""

    def __init__(self, digest: str, receipt: str) -> None:
        super().__init__(
            _(
                "The stored file {digest} held what was erased ({receipt}); nothing is left of it."
            ).format(digest=digest[:12], receipt=receipt),
            remedy=_("Make a new one without it: feilun turn"),
        )


class Erased(NamedTuple):
    """What became of a stored file that held what had to be erased: the digest of what is left
    of it (None: nothing) and the id of the receipt."""

    replacement: str | None
    receipt: str


class Blobs:
    """The project's stored files; immutable, so many processes may read and write at once.

    The one exception is an erasure: `erase` puts what is left of a file in its place. Who asks for
    the old digest is given that, and `erased` says so.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where the file with that digest is, whether it exists or not."""
        return self.folder / digest[:2] / digest

    def put(self, content: bytes | Path) -> str:
        """Stores bytes, or the file at a path; returns the sha256 once they are durable."""
        digest = sha256_of(content)
        target = self.path(digest)
        if not target.exists() or sha256_of(target) != digest:
            write_file(target, content)
        return digest

    def get(self, digest: str) -> Path:
        """The path of the file, after reading and checking every byte."""
        path = self.path(digest)
        try:
            found = sha256_of(path)
        except FileNotFoundError:
            gone = self.erased(digest)
            if gone is None:
                raise BlobMissing(digest) from None
            if gone.replacement is None:
                raise ErasedBlob(digest, gone.receipt) from None
            return self.get(gone.replacement)
        if found != digest:
            raise DamagedBlob(digest, path, found)
        return path

    def unpack(self, files: dict[str, str], folder: Path) -> Path:
        """Lays the files out under their names in `folder`, each checked; hard links where the
        file system allows, so nothing is copied."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, digest in files.items():
            source, target = self.get(digest), folder / name
            if target.exists() and target.samefile(source):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:
                write_file(target, source)
        return folder

    def digests(self) -> Iterator[str]:
        """Every digest that has a file."""
        for path in sorted(self.folder.glob("[0-9a-f][0-9a-f]/*")):
            if not path.name.startswith(TEMPORARY) and path.suffix != _ERASED:
                yield path.name

    def erase(self, digest: str, left: bytes | None, receipt: str) -> str | None:
        """Puts `left` (None: nothing) in the place of a file and removes it; the digest of what
        is left. Safe to repeat after a kill: the file goes last."""
        replacement = None if left is None else self.put(left)
        content = {"replacement": replacement, "receipt": receipt}
        write_file(self.path(digest).with_suffix(_ERASED), json.dumps(content).encode())
        self.path(digest).unlink(missing_ok=True)
        sync_folder(self.path(digest).parent)
        return replacement

    def erased(self, digest: str) -> Erased | None:
        """What became of an erased file; None where it is as it was written."""
        mark = self.path(digest).with_suffix(_ERASED)
        if self.path(digest).exists() or not mark.exists():
            return None
        return Erased(**json.loads(mark.read_bytes()))

    def erasures(self) -> Iterator[tuple[str, Erased]]:
        """Every erased file's digest, with what became of it."""
        for mark in sorted(self.folder.glob(f"[0-9a-f][0-9a-f]/*{_ERASED}")):
            gone = self.erased(mark.stem)
            if gone is not None:
                yield mark.stem, gone

    def current(self, digest: str) -> str | None:
        """The digest under which the file is now: its own, that of what an erasure left of it, or
        None where that is nothing."""
        gone = self.erased(digest)
        while gone is not None:
            if gone.replacement is None:
                return None
            digest = gone.replacement
            gone = self.erased(digest)
        return digest


def sha256_of(content: bytes | Path) -> str:
    """The sha256 in hex of bytes, or of the file at a path (read in pieces of 1 MiB)."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
