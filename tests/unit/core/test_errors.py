"""Errors: codes, exit codes, guesses, and values made fit to be shown."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.core.errors import (
    Busy,
    Conflict,
    Damaged,
    Denied,
    DiskFull,
    FeilunError,
    Full,
    Invalid,
    Missing,
    NotReadable,
    NotWritable,
    Throttled,
    disk_error,
    nearest,
    read_error,
    shortened,
)


def test_each_kind_has_its_own_exit_code() -> None:
    kinds = (FeilunError, Invalid, Missing, Conflict, Denied, Busy, Full, Damaged, Throttled)
    assert [kind.exit_code for kind in kinds] == list(range(1, 10))
    assert len({kind.kind for kind in kinds}) == len(kinds)


def test_the_code_is_the_class_name_in_snake_case() -> None:
    class SplitTooSmall(Invalid):
        pass

    assert SplitTooSmall("x").code == "split_too_small"
    assert str(SplitTooSmall("what", remedy="mend")) == "what"


@pytest.mark.parametrize(
    ("number", "written", "read"),
    [
        (errno.ENOSPC, DiskFull, DiskFull),
        (errno.EDQUOT, DiskFull, DiskFull),
        (errno.EFBIG, DiskFull, DiskFull),
        (errno.EACCES, NotWritable, NotReadable),
        (errno.EPERM, NotWritable, NotReadable),
        (errno.EROFS, NotWritable, NotWritable),
        (errno.EISDIR, None, NotReadable),
        (errno.EIO, None, None),
    ],
)
def test_system_errors_that_a_person_can_mend_are_told_clearly(
    number: int, written: type | None, read: type | None
) -> None:
    for given_, wanted in ((disk_error, written), (read_error, read)):
        found = given_(OSError(number, "x"), "a/b")
        assert type(found) is (wanted or type(None))
        if found is not None:
            assert "a/b" in found.message
            assert found.remedy


def test_the_nearest_name_is_guessed_or_none() -> None:
    assert nearest("lable", ["text", "label"]) == "label"
    assert nearest("zzz", ["text", "label"]) is None
    assert nearest("x", []) is None
    assert nearest("标签名", ["标签", "内容"]) == "标签"


@given(st.text(st.characters()), st.integers(2, 100))
def test_a_shown_value_is_one_short_line_that_can_be_written(text: str, limit: int) -> None:
    """Surrogates included: a file's name or an argument may hold bytes that are no text."""
    shown = shortened(text, limit)
    assert len(shown) <= limit
    assert shown.splitlines() in ([], [shown])
    shown.encode()
    assert "\x1b" not in shown


def test_lone_surrogates_and_escapes_are_replaced() -> None:
    assert shortened("a\ud800b\x1b[31m") == "a�b�[31m"
    assert shortened("很" * 100, 5) == "很很很很…"
