"""Feeds: the entries of RSS and Atom; each turn those that are new."""

from __future__ import annotations

import calendar
import hashlib
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import polars as pl
from pydantic import Field

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.outbound import Answer
from feilun.core.records import SCHEMA
from feilun.stages.collect import watermark as marks
from feilun.stages.collect.source import Piece, Quarantine
from feilun.stages.collect.web import Web

MOST_BYTES = 2 << 20
"""The time that feedparser takes for a hostile feed grows with its square: 10 s for 0.4 MB of
tags that never end (a good one of that size: 0.4 s), so some minutes for this."""
_COLUMNS = ("text", "row", "spans", "group", "time", "fields")
_HARMLESS = {"CharacterEncodingOverride", "NonXMLContentType"}
"""What feedparser objects to although it read everything."""


class NotAFeed(Invalid):
    """What the URL answers is neither RSS nor Atom."""

    def __init__(self, where: str) -> None:
        super().__init__(
            _("{where} is neither RSS nor Atom.").format(where=where),
            remedy=_('Set `url` to the feed itself; pages name it as rel="alternate".'),
        )


class Feed(Web):
    """The entries of an RSS or Atom feed: title and body as one text, with a span for each.

    The body is the content, else the summary, with its HTML, out of which feedparser took what
    can run; the step `markup` makes text of it. An entry that was read is not read again, also
    when it changes: it is known by its id, else its link.
    """

    use: ClassVar[str] = "feed"

    most_bytes: int = Field(MOST_BYTES, ge=1, description="of the feed, unpacked")
    group: Literal["feed", "none"] = Field(
        "feed", description="feed: a split by group keeps the entries of one feed together"
    )

    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        """One piece: what is new. Raises what `Outbound.request` raises, and `NotAFeed`."""
        reading = _Reading(self, since)
        yield Piece(self.shown, reading.identity, reading.frames, reading.reached)


class _Entry(NamedTuple):
    key: str
    title: str
    body: str
    time: datetime | None
    fields: dict[str, str]


class _Reading:
    """One reading of a feed. Between turns it keeps when the newest entry was published, which
    entries stood in it, and the ETag by which the host says that nothing is new."""

    def __init__(self, source: Feed, since: str | None) -> None:
        self.source = source
        self.state = marks.unpacked(since)
        etag = str(self.state.get("etag") or "")
        self.answer: Answer = source.fetch(
            source.address, {"If-None-Match": etag} if etag else None
        )
        self.identity = hashlib.sha256(self.answer.body).hexdigest()
        self._reached = since

    def reached(self) -> str | None:
        """The watermark after the last frame."""
        return self._reached

    def frames(self, quarantine: Quarantine) -> Iterator[pl.DataFrame]:
        """The new entries, in the feed's order."""
        if self.answer.status == 304:
            return
        where = self.source.shown
        known = set(self.state.get("seen", ()))
        seen: dict[str, None] = {}
        rows = []
        newest = str(self.state.get("published") or "")
        for number, entry in enumerate(self._entries(quarantine), start=1):
            if entry.key in known or entry.key in seen:
                seen[entry.key] = None
                continue
            seen[entry.key] = None
            if not entry.title and not entry.body:
                quarantine.add(where, number, "no_text", entry.fields.get("link", ""))
                continue
            rows.append(self._row(entry, number))
            if entry.time is not None:
                newest = max(newest, entry.time.isoformat())
        if set(seen) - known:
            etag = self.answer.headers.get("etag", "")
            self._reached = marks.packed(
                {
                    "published": newest,
                    "seen": list(seen),
                    "etag": etag if etag.isascii() else "",
                }
            )
        if rows:
            schema = {name: SCHEMA[name] for name in _COLUMNS}
            yield pl.DataFrame(rows, schema=schema, orient="row")

    def _row(self, entry: _Entry, number: int) -> tuple[Any, ...]:
        parts = [(p, what) for p, what in ((entry.title, "title"), (entry.body, "body")) if p]
        spans, start = [], 0
        for part, what in parts:
            spans.append({"start": start, "end": start + len(part), "label": what})
            start += len(part) + 1
        return (
            "\n".join(part for part, _what in parts),
            number,
            spans,
            self.source.shown if self.source.group == "feed" else None,
            entry.time,
            json.dumps(entry.fields, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        )

    def _entries(self, quarantine: Quarantine) -> Iterator[_Entry]:
        import feedparser  # type: ignore[import-untyped]  # it ships no types

        # A stream, because a text or bytes that look like a URL or a path would be opened.
        parsed = feedparser.parse(
            io.BytesIO(self.answer.body),
            response_headers={"content-type": self.answer.headers.get("content-type", "")},
            resolve_relative_uris=False,
            sanitize_html=True,
        )
        entries = parsed["entries"]
        fault = parsed.get("bozo_exception") if parsed["bozo"] else None
        if not parsed.get("version") and not entries:
            raise NotAFeed(self.source.shown)
        for entry in entries:
            yield _entry(entry)
        if fault is not None and type(fault).__name__ not in _HARMLESS:
            # What stood after the fault, if anything, nobody knows.
            quarantine.add(self.source.shown, len(entries) + 1, "bad_feed", _said(fault))


def _entry(entry: Any) -> _Entry:
    title = _clean(dict.get(entry, "title"))
    contents = dict.get(entry, "content") or ()
    body = "\n".join(filter(None, (_clean(content.get("value")) for content in contents)))
    body = body or _clean(dict.get(entry, "summary"))
    link, identity = _clean(dict.get(entry, "link")), _clean(dict.get(entry, "id"))
    named = {"link": link, "id": identity, "author": _clean(dict.get(entry, "author"))}
    key = identity or link or f"{title}\x00{body}"
    return _Entry(
        hashlib.blake2b(key.encode(), digest_size=8).hexdigest(),
        title,
        body,
        _time(dict.get(entry, "published_parsed") or dict.get(entry, "updated_parsed")),
        {name: value for name, value in named.items() if value},
    )


def _clean(value: Any) -> str:
    # References such as &#xD800; give lone surrogates, which are no characters.
    return value.strip().encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _time(parsed: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(calendar.timegm(parsed), UTC) if parsed else None
    except (OverflowError, ValueError, OSError, TypeError):
        return None


def _said(fault: Exception) -> str:
    getter = getattr(fault, "getMessage", None)
    return f"{type(fault).__name__}: {getter() if getter else fault}"
