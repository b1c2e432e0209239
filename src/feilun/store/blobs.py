"""Files named by the sha256 of their content: `blobs/ab/<sha256>`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from feilun.core.errors import Damaged, Missing
from feilun.core.i18n import _
from feilun.store.disk import TEMPORARY, write_file


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


class Blobs:
    """The project's stored files; immutable, so many processes may read and write at once."""

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
            raise BlobMissing(digest) from None
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
            if not path.name.startswith(TEMPORARY):
                yield path.name


def sha256_of(content: bytes | Path) -> str:
    """The sha256 in hex of bytes, or of the file at a path (read in pieces of 1 MiB)."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
