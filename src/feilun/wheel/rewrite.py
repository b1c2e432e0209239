"""Changes `[train] model` in `feilun.toml`, and nothing else: every other line stays as it is.

TOML has four ways to write a table (`model = { … }`, `model.key = …`, `[train.model]`, not at
all); each is kept. What comes out is read again, and only written if it says what it should.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feilun.core.errors import Conflict
from feilun.core.i18n import _
from feilun.store.disk import write_file

_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]#]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")

Keys = tuple[str, ...]
MODEL: Keys = ("train", "model")


class NotRewritable(Conflict):
    """The file's way of writing `[train] model` cannot be changed without touching more."""

    def __init__(self, path: Path, snippet: str) -> None:
        super().__init__(
            _("{path} was left as it is: its [train] model cannot be changed safely.").format(
                path=path
            ),
            remedy=_("Write it there by hand: {snippet}").format(snippet=snippet),
        )


def write_model(path: Path, model: Mapping[str, Any]) -> None:
    """Puts `model` into the file as `[train] model`; raises `NotRewritable`."""
    raw = path.read_bytes()
    mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
    text = raw.removeprefix(mark).decode("utf-8")
    changed = rewritten(text, model)
    if changed is None:
        raise NotRewritable(path, f"model = {toml(model)}")
    # Through a link, the file that it points at.
    target = path.resolve()
    write_file(target, mark + changed.encode("utf-8"), target.stat().st_mode & 0o777)


def rewritten(text: str, model: Mapping[str, Any]) -> str | None:
    """The file's text with `[train] model` changed; None where that cannot be done so that all
    else stays."""
    wanted = tomllib.loads(text)
    if not isinstance(wanted.setdefault("train", {}), dict):
        return None
    wanted["train"]["model"] = dict(model)
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    made = "".join(_changed(lines, model, end))
    try:
        return made if tomllib.loads(made) == wanted else None
    except tomllib.TOMLDecodeError:
        return None


def _changed(lines: list[str], model: Mapping[str, Any], end: str) -> list[str]:
    entries = _entries(lines)
    whole = next((e for e in entries if e.path == MODEL and not e.header), None)
    if whole is not None:
        if any("#" in line for line in lines[whole.first : whole.last - 1]):
            return lines  # a comment within the value would be lost
        changed = f"{whole.before} {toml(model)}{whole.comment}{end}"
        return [*lines[: whole.first], changed, *lines[whole.last :]]
    single = {e.path[2]: e for e in entries if len(e.path) == 3 and e.path[:2] == MODEL}
    if any(e.header for e in single.values()):
        return lines  # [train.model.x]: told apart by the check that follows
    out, left = list(lines), {k: v for k, v in model.items() if k not in single}
    anchor, prefix = _anchor(entries, single, lines)
    added = [f"{prefix}{_name(key)} = {toml(value)}{end}" for key, value in left.items()]
    if anchor is None:
        gap = [end] if lines and lines[-1].strip() else []
        return [*out, *gap, f"[train]{end}", f"model = {toml(model)}{end}"]
    if not single and prefix == "model.":
        added = [f"model = {toml(model)}{end}"]
    out[anchor:anchor] = added
    for key, entry in sorted(single.items(), key=lambda one: -one[1].first):
        shift = len(added) if entry.first >= anchor else 0
        value = [f"{entry.before} {toml(model[key])}{entry.comment}{end}"] if key in model else []
        out[entry.first + shift : entry.last + shift] = value
    return out


class _Entry:
    """A header, or a key with its value: lines `first` to `last`, its full path, what stands
    before the value, and the comment after it."""

    def __init__(self, path: Keys, first: int, *, header: bool = False) -> None:
        self.path, self.first, self.last, self.header = path, first, first + 1, header
        self.before = self.comment = ""


def _entries(lines: list[str]) -> list[_Entry]:
    found: list[_Entry] = []
    table: Keys = ()
    at = 0
    while at < len(lines):
        header, key = _HEADER.match(lines[at]), _KEY.match(lines[at])
        if header:
            table = _split(header[1])
            found.append(_Entry(table, at, header=True))
        elif key:
            entry = _Entry((*table, *_split(key[1])), at)
            entry.before = key[0]
            entry.last, entry.comment = _value_end(lines, at)
            found.append(entry)
            at = entry.last - 1
        at += 1
    return found


def _value_end(lines: list[str], first: int) -> tuple[int, str]:
    """The line after the value that begins in `first`, and the comment after the value."""
    for last in range(first + 1, len(lines) + 1):
        text = "".join(lines[first:last]).rstrip("\r\n")
        for mark in (*(m.start() for m in re.finditer("#", text)), len(text)):
            # The first # before which all is whole is no part of a text.
            if _parses(text[:mark]):
                value = text[:mark].rstrip()
                return last, text[len(value) :]
    return first + 1, ""


def _parses(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _anchor(
    entries: list[_Entry], single: Mapping[str, _Entry], lines: list[str]
) -> tuple[int | None, str]:
    """Before which line new keys go, and what stands before their names."""
    if single:
        last = max(single.values(), key=lambda e: e.first)
        return last.last, re.sub(r"[A-Za-z0-9_-]+\s*=$", "", last.before)
    for path, prefix in ((MODEL, ""), (MODEL[:1], "model.")):
        header = next((e for e in entries if e.header and e.path == path), None)
        if header is not None:
            return header.last, prefix
    return None, ""


def _split(name: str) -> Keys:
    return tuple(part.strip().strip("\"'") for part in name.split("."))


def _name(key: str) -> str:
    return key if _BARE.match(key) else toml(key)


def toml(value: Any) -> str:
    """A value as TOML writes it, on one line; keys without a value are left out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        items = [f"{_name(key)} = {toml(one)}" for key, one in value.items() if one is not None]
        return "{ " + ", ".join(items) + " }" if items else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return repr(value)
