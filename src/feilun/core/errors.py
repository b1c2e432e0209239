"""What can go wrong, said so that it can be mended.

    FeilunError            kind       HTTP   exit
    ├── Invalid            invalid    422    2     what was given cannot be used
    ├── Missing            missing    404    3     what was asked for is not there
    ├── Conflict           conflict   409    4     somebody else is at it, or it differs
    ├── Denied             denied     401    5     no key, or not with this key
    ├── Busy               busy       503    6     later, please
    ├── Throttled          throttled  429    9     too many tries
    ├── Full               full       507    7     no room on the disk
    └── Damaged            damaged    500    8     bytes are not what they were

A message says what, with the value; then the limit and where it is set; `remedy` is the
command (or the edit) that mends it. Values a user typed are shortened before they are shown.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import ClassVar
from unicodedata import category

from feilun.core.i18n import _


class FeilunError(Exception):
    """Anything Feilun refuses or fails at; `str()` is for people, `code` for programs."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    @property
    def code(self) -> str:
        """The error's stable name, `snake_case`, for programs: `split_too_small`."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class Invalid(FeilunError):
    """What was given cannot be used."""

    kind = "invalid"
    exit_code = 2


class Missing(FeilunError):
    """What was asked for is not there."""

    kind = "missing"
    exit_code = 3


class Conflict(FeilunError):
    """Somebody else is at it, or it differs from what is there."""

    kind = "conflict"
    exit_code = 4


class Denied(FeilunError):
    """No key, a wrong key, or a key without this permission."""

    kind = "denied"
    exit_code = 5


class Busy(FeilunError):
    """It can be had, but not now."""

    kind = "busy"
    exit_code = 6


class Throttled(FeilunError):
    """Too many tries in a short time."""

    kind = "throttled"
    exit_code = 9


class Full(FeilunError):
    """The disk (or the quota on it) has no room left."""

    kind = "full"
    exit_code = 7


class Damaged(FeilunError):
    """Stored bytes are not the bytes that were stored."""

    kind = "damaged"
    exit_code = 8


class DiskFull(Full):
    """A write failed because there is no space left; nothing half-written is kept."""

    def __init__(self, path: object) -> None:
        super().__init__(
            _("No space left to write {path}; what was already committed is safe.").format(
                path=path
            ),
            remedy=_("Free some space, then run the same command again: it goes on from there."),
        )


class NotWritable(Invalid):
    """The folder or file cannot be written by this user."""

    def __init__(self, path: object) -> None:
        super().__init__(
            _("{path} cannot be written.").format(path=path),
            remedy=_("chmod u+w {path}, or work on a copy of the project.").format(path=path),
        )


class NotReadable(Invalid):
    """The folder or file cannot be read by this user."""

    def __init__(self, path: object) -> None:
        super().__init__(
            _("{path} cannot be read.").format(path=path),
            remedy=_("chmod u+r {path}, or run as the user it belongs to.").format(path=path),
        )


def disk_error(error: OSError, path: object) -> FeilunError | None:
    """The clear error for an `OSError` of a full or read-only disk; None for any other."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return DiskFull(path)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return NotWritable(path)
    return None


def read_error(error: OSError, path: object) -> FeilunError | None:
    """The clear error for an `OSError` of a file that may not be read; None for any other."""
    if error.errno in {errno.EACCES, errno.EPERM, errno.EISDIR}:
        return NotReadable(path)
    return disk_error(error, path)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely meant, or None when none is close."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def shortened(value: object, limit: int = 80) -> str:
    """`value` as text of at most `limit` characters, on one line, for use in a message."""
    # Control characters could steer a terminal, lone surrogates cannot be written out at all.
    text = "".join(c if category(c) not in {"Cc", "Cs"} else "�" for c in _one_line(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"
